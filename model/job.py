"""The jobs that Hydra calls: a single run, or a job of a sweep. Heavy packages are imported once the configuration is
checked.
"""

from __future__ import annotations

import logging
import math
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from model.command_line import active_command
from model.config.compose import from_hydra
from model.config.messages import CONFIG_ERRORS, two_lines
from model.config.schema import RunConfig
from model.errors import ConfigError, RunFailed, failure_reason
from model.imports import import_libraries, large_imports
from model.interruption import Interrupted, listen, received
from model.launch import board, first_process
from model.record.disk import write_failure
from model.record.folder import UsedFolder, keep_function_digest, only_writer
from model.record.summary import record_failure
from model.side_process import SideProcess, several_cores
from model.slurm import restarted_by_slurm

log = logging.getLogger(__name__)
# The objective of a job that failed or has not measured its objective: the lowest possible value. NaN would end a study
# of Optuna.
WORST = 0.0
# What `model.analysis.probes` imports when it fits.
PROBE_PACKAGES = ("sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.dummy")


def run_job(composed: DictConfig, folder: Path) -> float | None:
    """Runs a single run and returns its objective. A run that Slurm has restarted continues, like a job of a sweep."""
    config = checked(composed)
    with only_writer(folder, waits=False):
        keep_function_digest(folder, config.loss.function_digest)
        if restarted_by_slurm() and config.train and config.ckpt_path is None:
            return unfinished_job(config, folder, own_folder=False)
        return run_here(config, folder)


def sweep_job(composed: DictConfig, folder: Path) -> float:
    """Runs a job of a sweep, unless it is done already, and returns its objective. A failure is recorded, and the sweep
    continues with the other jobs.
    """
    with ExitStack() as lock:
        try:
            lock.enter_context(only_writer(folder, waits=True))
            config = checked(composed)
            keep_function_digest(folder, config.loss.function_digest)
            return finite_objective(unfinished_job(config, folder, own_folder=True), folder)
        except UsedFolder:  # the folder belongs to another job: nothing may be written there
            raise
        except Exception as raised:
            error = write_failure(raised, folder) or raised
            reason = two_lines(error) if isinstance(error, CONFIG_ERRORS) else failure_reason(error)
            log.error(
                "job in %s failed: %s",
                folder,
                reason if isinstance(error, (ConfigError, RunFailed)) else traceback.format_exc(),
            )
            if first_process():
                record_failure(folder, reason)
            if not board.all_failed(folder.name):
                raise RunFailed(f"the sweep has ended, as one of its processes failed alone: {reason}") from raised
            return WORST


def job_of_a_worker(composed: DictConfig, folder: Path) -> float:
    """Runs a job of a sweep in a process that a launcher has started. A signal ends the job, and every job that the
    process gets afterwards; the command that started the launcher ends the sweep.
    """
    if not received.listens:
        listen()
    received.waits = False
    try:
        received.raise_if_received()
        return sweep_job(composed, folder)
    except Interrupted as interrupted:
        log.error("job in %s: %s", folder, interrupted.reason)
        return WORST
    finally:
        received.waits = True


def unfinished_job(config: RunConfig, folder: Path, *, own_folder: bool) -> float:
    """Returns the recorded objective of a finished job, or runs the job. The first process decides for all processes.

    own_folder: see `with_newest_checkpoint`.
    """
    from model.sweep.resume import recorded_metrics, with_newest_checkpoint

    def decide() -> dict[str, Any]:
        metrics = recorded_metrics(folder, config)
        if metrics is not None:
            return {"done": True, "objective": metrics.get(config.objective)}
        return {"done": False, "ckpt_path": with_newest_checkpoint(folder, config, own_folder=own_folder).ckpt_path}

    decision = board.agree(folder.name, decide)
    if decision["done"]:
        log.info("job in %s is done already", folder)
        return math.nan if decision["objective"] is None else decision["objective"]
    return run_here(replace(config, ckpt_path=decision["ckpt_path"]), folder)


def checked(composed: DictConfig) -> RunConfig:
    """Returns the configuration as a RunConfig. Raises ConfigError where a value is not allowed."""
    with large_imports():  # the checks import torch
        return from_hydra(composed)


def run_here(config: RunConfig, folder: Path) -> float:
    """Runs `config` in `folder` and returns its objective, see `model.run.run`."""
    with side_process(config) as side:
        with large_imports():
            import_libraries()
            from model.run import run
        return run(config, folder, side).objective


def side_process(config: RunConfig) -> SideProcess:
    """Returns the process that draws pictures and fits probes while this one analyses the run. It imports what it needs
    at once, beside the imports of this process.

    It has no process of its own where it would help nothing: on one core, in the workers of a sweep, which use all
    cores, and in the processes of a run that write nothing.
    """
    if config.trainer.fast_dev_run or active_command() is None or not first_process() or not several_cores():
        return SideProcess()
    modules = []
    if config.report:
        modules.append("model.report.pictures")
    if config.analysis.probes and config.evaluate:
        modules += ["model.analysis.probes", *PROBE_PACKAGES]
    return SideProcess(modules or None)


def finite_objective(value: float | None, folder: Path) -> float:
    """Returns `value` where it is finite, and otherwise WORST, because a sweeper needs a finite objective."""
    if value is not None and math.isfinite(value):
        return value
    log.warning("job in %s has no objective; it counts as %g", folder, WORST)
    return WORST
