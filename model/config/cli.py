"""The command line: Hydra composes, `model.run` runs, mistakes become two lines and exit code 2. Heavy packages load in the job only."""

from __future__ import annotations

import logging
import math
import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from model.config.arguments import check_arguments
from model.config.compose import CONF, from_hydra, groups, job_hash, register_schemas
from model.config.folder import CONFIG_NAME, UsedFolder, first_process
from model.config.messages import CONFIG_ERRORS, before_the_job, two_lines
from model.disk import write_failure
from model.errors import ConfigError, RunFailed, failure_reason
from model.report.sweep import SweepComparison, end_sweep

log = logging.getLogger(__name__)
USAGE = """Train n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly.

  python train.py loss=normsv5 monitor.clip=1.0              one run
  python train.py -m loss=stock,einsum,normsv5 seed=1,2,3    a sweep
  python train.py --cfg job                                  show the composed configuration
  python train.py hydra.run.dir=<folder> ckpt_path=last      go on with a run that was cut

Groups (choose with group=choice; every key inside is group.key=value, described in conf/<group>/):
"""
FLAGS = "\nFlags: -m (sweep; put it before the overrides), --cfg job, --hydra-help (Hydra's own)."


# What a sweeper gets for a job that failed or measured nothing: the least that an objective can be. NaN would end an Optuna study.
WORST = 0.0
# Here, as the worker processes of parallel launchers import this module and do not come through `command_line`.
OmegaConf.register_new_resolver("job_hash", job_hash, replace=True)


class Outcomes:
    """What the jobs of this process came to."""

    error: Exception | None = None
    """Of a single run: a mistake in its configuration, or why it failed."""
    begun = False
    """Whether Hydra has come as far as to call `job`."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)
def job(composed: DictConfig) -> float | None:
    """One run; its objective is what Hydra's sweepers optimise (val/recall@1, or what `objective` names)."""
    Outcomes.begun = True
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if settings.mode == RunMode.MULTIRUN:
        return sweep_job(composed, folder)
    try:
        return run_job(composed, folder)
    except (*CONFIG_ERRORS, RunFailed) as error:
        Outcomes.error = error
        return None


def run_job(composed: DictConfig, folder: Path) -> float | None:
    """Checks the configuration, then imports what trains."""
    config = from_hydra(composed)
    from model.run import run

    return run(config, folder).objective


def sweep_job(composed: DictConfig, folder: Path) -> float:
    """A job of a sweep, unless it is done already: a failure is recorded and the other jobs go on."""
    from model.config.resume import alone_in
    from model.report.summary import record_failure

    with alone_in(folder):
        try:
            return finite_objective(unfinished_job(composed, folder), folder)
        except UsedFolder:  # nothing may be written there
            raise
        except Exception as raised:
            error = write_failure(raised, folder) or raised
            reason = two_lines(error) if isinstance(error, CONFIG_ERRORS) else failure_reason(error)
            log.error("job in %s failed: %s", folder, reason if isinstance(error, (ConfigError, RunFailed)) else traceback.format_exc())
            record_failure(folder, reason)
            return WORST


def unfinished_job(composed: DictConfig, folder: Path) -> float:
    """The objective, recorded or reached now."""
    from model.config.resume import continued, recorded_metrics

    config = from_hydra(composed)
    done = recorded_metrics(folder, config)
    if done is not None:
        log.info("job in %s is done already", folder)
        return done.get(config.objective, math.nan)
    from model.run import run

    return run(continued(folder, config), folder).objective


def finite_objective(value: float | None, folder: Path) -> float:
    """What a sweeper can work with."""
    if value is not None and math.isfinite(value):
        return value
    log.warning("job in %s has no objective; it counts as %g", folder, WORST)
    return WORST


def command_line() -> int:
    """Runs `job` with the process's arguments. Exit codes: 0 done, 1 the run or a job in the sweep's folder failed, 2 a mistake in the
    configuration."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text())
        return 0
    register_schemas()
    Outcomes.error, Outcomes.begun = None, False
    SweepComparison.folder = SweepComparison.run_folder = SweepComparison.failure = None
    in_order = False
    # Hydra would print pages for a mistyped word; with this it raises instead, and the two lines are made here.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # train.log on a full disk: the run tells it in two lines, logging would print a traceback for every record
    try:
        check_arguments(sys.argv[1:])
        job()
        in_order = True
        if Outcomes.error is not None:
            raise Outcomes.error
    except CONFIG_ERRORS as error:
        if before == "1":
            raise
        print(two_lines(error), file=sys.stderr)
        return 2
    except RunFailed as error:
        if first_process():
            print(error, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # of Hydra: a folder that cannot be made, words that it does not take
        folder = SweepComparison.folder or SweepComparison.run_folder
        failure = write_failure(error, folder) if Outcomes.begun and folder else None  # the folder of a sweep's next job
        if before == "1" or (Outcomes.begun and failure is None):
            raise
        print(failure or before_the_job(error, folder), file=sys.stderr)
        return 1 if failure else 2
    except SystemExit:
        if SweepComparison.folder is None:
            raise
        # A signal ended a job and with it the sweep; Lightning's exit code may be 0 then.
    finally:
        os.environ["HYDRA_FULL_ERROR"] = before or "0"
        failed = end_sweep(in_order)
    return failed


def help_text() -> str:
    """Usage and the choices of every group, read from conf/."""
    known = groups()
    width = max(map(len, known))
    return USAGE + "\n".join(f"  {group:{width}}  {', '.join(choices)}" for group, choices in known.items()) + "\n" + FLAGS
