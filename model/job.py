"""What Hydra calls: a single run, or a job of a sweep. Heavy packages load once the configuration is right."""

from __future__ import annotations

import logging
import math
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from model.config.compose import from_hydra
from model.config.messages import CONFIG_ERRORS, two_lines
from model.config.schema import RunConfig
from model.errors import ConfigError, RunFailed, failure_reason
from model.interruption import Interrupted, listen, received
from model.launch import board, first_process
from model.record.disk import write_failure
from model.record.folder import UsedFolder, keep_function_digest, only_writer
from model.record.summary import record_failure
from model.slurm import restarted_by_slurm

log = logging.getLogger(__name__)
# What a sweeper gets for a job that failed or measured nothing: the least that an objective can be. NaN would end an
# Optuna study.
WORST = 0.0


def run_job(composed: DictConfig, folder: Path) -> float | None:
    """A single run. One that Slurm has started again goes on by itself, as a job of a sweep does."""
    config = from_hydra(composed)
    with only_writer(folder, waits=False):
        keep_function_digest(folder, config.loss.function_digest)
        if restarted_by_slurm() and config.train and config.ckpt_path is None:
            return unfinished_job(config, folder, own_folder=False)
        from model.run import run

        return run(config, folder).objective


def sweep_job(composed: DictConfig, folder: Path) -> float:
    """A job of a sweep, unless it is done already: a failure is recorded and the other jobs go on."""
    with ExitStack() as held:
        try:
            held.enter_context(only_writer(folder, waits=True))
            config = from_hydra(composed)
            keep_function_digest(folder, config.loss.function_digest)
            return finite_objective(unfinished_job(config, folder, own_folder=True), folder)
        except UsedFolder:  # nothing may be written there
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
            if not board.failed_alike(folder.name):
                raise RunFailed(f"the sweep has ended, as one of its processes failed alone: {reason}") from raised
            return WORST


def job_of_a_worker(composed: DictConfig, folder: Path) -> float:
    """A job of a sweep in a process that a launcher has started. A signal ends the job, and the jobs that the process
    gets afterwards; the command that the process belongs to decides what becomes of the sweep.
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
    """The objective: recorded, or reached now. The first process decides for all which of the two. own_folder: see
    `continued`.
    """
    from model.sweep.resume import continued, recorded_metrics

    def decide() -> dict:
        done = recorded_metrics(folder, config)
        if done is not None:
            return {"done": True, "objective": done.get(config.objective)}
        return {"done": False, "ckpt_path": continued(folder, config, own_folder=own_folder).ckpt_path}

    decided = board.agree(folder.name, decide)
    if decided["done"]:
        log.info("job in %s is done already", folder)
        return math.nan if decided["objective"] is None else decided["objective"]
    from model.run import run

    return run(replace(config, ckpt_path=decided["ckpt_path"]), folder).objective


def finite_objective(value: float | None, folder: Path) -> float:
    """What a sweeper can work with."""
    if value is not None and math.isfinite(value):
        return value
    log.warning("job in %s has no objective; it counts as %g", folder, WORST)
    return WORST
