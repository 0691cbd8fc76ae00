"""The command line: Hydra composes, `model.run` runs, mistakes become two lines and exit code 2. Heavy packages load in the job only."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from model.config.compose import CONF, from_hydra, groups, register_schemas
from model.config.folder import refuse_used_folder
from model.config.messages import CONFIG_ERRORS, two_lines
from model.errors import ConfigError, not_known

log = logging.getLogger(__name__)
USAGE = """Train n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly.

  python train.py loss=normsv5 monitor.clip=1.0              one run
  python train.py -m loss=stock,einsum,normsv5 seed=1,2,3    a sweep
  python train.py --cfg job                                  show the composed configuration
  python train.py hydra.run.dir=<folder> ckpt_path=last      go on with a run that was cut

Groups (choose with group=choice; every key inside is group.key=value, described in conf/<group>/):
"""
FLAGS = "\nFlags: -m (sweep; put it before the overrides), --cfg job, --hydra-help (Hydra's own)."


class Outcomes:
    """What the jobs of this process came to: mistakes in the configuration, and failures of a sweep's jobs."""

    mistakes: list[Exception] = []  # noqa: RUF012 - one command line a process
    failed: list[str] = []  # noqa: RUF012


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def job(composed: DictConfig) -> float | None:
    """One run; its objective is what Hydra's sweepers optimise (val/recall@1)."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if settings.mode == RunMode.MULTIRUN:
        return sweep_job(composed, folder)
    try:
        return run_job(composed, folder)
    except ConfigError as error:
        Outcomes.mistakes.append(error)
        return None


def run_job(composed: DictConfig, folder: Path) -> float | None:
    """Checks the configuration, then imports what trains."""
    config = from_hydra(composed)
    from model.run import run

    return run(config, folder).objective


def sweep_job(composed: DictConfig, folder: Path) -> float | None:
    """A job of a sweep: a failure is recorded and the other jobs go on."""
    from model.report.summary import record_failure

    try:
        return run_job(composed, folder)
    except Exception as error:
        reason = two_lines(error) if isinstance(error, CONFIG_ERRORS) else f"{type(error).__name__}: {error}"
        log.error("job in %s failed: %s", folder, reason if isinstance(error, ConfigError) else traceback.format_exc())
        record_failure(folder, reason)
        Outcomes.failed.append(str(folder))
        return None


def command_line() -> int:
    """Runs `job` with the process's arguments. Exit codes: 0 done, 1 a job of a sweep failed, 2 a mistake in the configuration."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text())
        return 0
    register_schemas()
    Outcomes.mistakes, Outcomes.failed = [], []
    # Hydra would print pages for a mistyped word; with this it raises instead, and the two lines are made here.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        check_arguments(sys.argv[1:])
        job()
        for mistake in Outcomes.mistakes:
            raise mistake
    except CONFIG_ERRORS as error:
        if before == "1":
            raise
        print(two_lines(error), file=sys.stderr)
        return 2
    finally:
        os.environ["HYDRA_FULL_ERROR"] = before or "0"
    return 1 if Outcomes.failed else 0


def check_arguments(arguments: list[str]) -> None:
    """What must be refused before Hydra writes a folder: a used folder, and `group=_choice` (such files are shared parts)."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if "hydra.run.dir" in given and "ckpt_path" not in given and "LOCAL_RANK" not in os.environ:
        refuse_used_folder(Path(given["hydra.run.dir"]))
    known = groups()
    for argument in arguments:
        match = re.fullmatch(r"\+{0,2}(\w+)=(.*)", argument)
        if match and match.group(1) in known:
            for choice in match.group(2).split(","):
                if choice.startswith("_"):
                    raise not_known(match.group(1), choice, known[match.group(1)])


def help_text() -> str:
    """Usage and the choices of every group, read from conf/."""
    known = groups()
    width = max(map(len, known))
    return USAGE + "\n".join(f"  {group:{width}}  {', '.join(choices)}" for group, choices in known.items()) + "\n" + FLAGS
