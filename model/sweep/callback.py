"""Hydra's callback of a sweep: records its folder, and compares the jobs at the end. Heavy packages are imported only
when there are jobs to compare.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from model.command_line import CommandLine, active_command
from model.errors import RunFailed
from model.interruption import received
from model.launch import PLACE, board, first_process
from model.record.disk import as_failures
from model.record.files import write_whole

log = logging.getLogger(__name__)


class SweepComparison(Callback):
    """Compares the jobs of a sweep when all have ended. Hydra builds it, from hydra.callbacks of conf/train.yaml."""

    def on_run_start(self, config: DictConfig, **keywords: Any) -> None:
        """Records the folder of a single run, because Hydra's errors do not always name it."""
        command = active_command()
        if command is not None:
            command.run_folder = Path(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **keywords: Any) -> None:
        """Records the folder of the sweep, and passes it on to the other processes of the jobs.

        These processes start later, when the default folder, named after the time, would have another name. Lightning
        starts its processes with the arguments of this command; others read them from the board.
        """
        command = active_command()
        if command is not None:
            argument = f'hydra.sweep.dir="{config.hydra.sweep.dir}"'
            command.sweep_folder = Path(config.hydra.sweep.dir)
            command.argv.append(argument)
            board.publish(PLACE, {"arguments": [argument]})
        if "joblib" in config.hydra.launcher._target_:
            pass_signals_to_workers()

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        """Writes the comparison. Hydra does not call it after an exception: then `end_sweep` writes the comparison."""
        received.waits = False
        received.raise_if_received()
        folder = Path(config.hydra.sweep.dir)
        try:
            with as_failures(folder):
                write_command(config, folder)
                if any(folder.glob("*/.hydra")):  # a sweep over no values has no job
                    compare(folder)
        except RunFailed as failure:  # Hydra would print a warning and continue
            command = active_command()
            if command is None:
                raise
            command.comparison_failure = failure


def pass_signals_to_workers() -> None:
    """Makes this process pass a signal on to joblib's workers and wait until they have ended their jobs, before joblib
    starts them. joblib itself would kill them.
    """

    def to_workers(number: int) -> None:
        for worker in multiprocessing.active_children():
            if worker.pid is not None:
                os.kill(worker.pid, number)

    received.waits = True
    received.pass_on = to_workers


def write_command(config: DictConfig, folder: Path) -> None:
    """Writes multirun.yaml, from which the comparison reads the command of the sweep. Hydra's own sweeper has written
    the file already, other sweepers have not.
    """
    if first_process() and folder.is_dir():
        write_whole(folder / "multirun.yaml", OmegaConf.to_yaml(config))


def compare(folder: Path) -> None:
    """Writes comparison.csv, .md and .png into the folder of the sweep, in the first process."""
    if not first_process():
        return
    from model.report.sweep_report import write_comparison

    log.info("compared in %s", ", ".join(str(path) for path in write_comparison(folder)))


def end_sweep(command: CommandLine, has_returned: bool) -> int:
    """Returns the exit code of the sweep of this command: 1 when a job failed or has not ended, 2 when the sweep has no
    job, 0 without a sweep. It reads the files of the jobs, because jobs may run in other processes.

    has_returned: whether Hydra has returned, and so has called `on_multirun_end`.
    """
    from model.report.sweep_jobs import read_jobs

    folder = command.sweep_folder
    if folder is None or not first_process():
        return 0
    jobs = read_jobs(folder) if os.path.isdir(folder) else []
    if jobs and not has_returned:
        with suppress(OSError):  # the error that has ended the sweep is reported; a full disk can cause both
            compare(folder)
    if command.comparison_failure is not None:
        print(command.comparison_failure, file=sys.stderr)
        return 1
    if not jobs and has_returned:
        print("the sweep has no job; allowed: at least one value for every key", file=sys.stderr)
        return 2
    if has_returned and not any(job.ended for job in jobs):
        print(
            f"no job of the sweep has ended with figures; {folder / 'comparison.md'} has the reasons", file=sys.stderr
        )
    return int(not all(job.ended for job in jobs))
