"""Hydra's side of a sweep: where it writes, and the comparison at its end. Heavy packages load when there is something
to compare.
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

from model.errors import RunFailed
from model.interruption import received
from model.launch import PLACE, board, first_process
from model.record.disk import as_failures
from model.record.files import write_whole

log = logging.getLogger(__name__)


class SweepComparison(Callback):
    """hydra.callbacks of conf/train.yaml: compares the jobs of a sweep when all have ended."""

    folder: Path | None = None
    """Of the sweep that this process runs."""
    run_folder: Path | None = None
    """Of the single run."""
    failure: RunFailed | None = None
    """Why there is no comparison, where the file system is to blame."""

    def on_run_start(self, config: DictConfig, **keywords: Any) -> None:
        """Keeps the folder: Hydra's errors do not always name it."""
        type(self).run_folder = Path(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **keywords: Any) -> None:
        """Keeps the folder, and names it for the further processes, which begin in another second: on the command line,
        with which Lightning starts them, and on the board.
        """
        type(self).folder = Path(config.hydra.sweep.dir)
        named = f'hydra.sweep.dir="{config.hydra.sweep.dir}"'
        sys.argv.append(named)
        board.tell(PLACE, {"arguments": [named]})
        if "joblib" in config.hydra.launcher._target_:
            lead_workers()

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        """Not called after an exception: `end_sweep` then writes the comparison."""
        received.waits = False
        received.raise_if_received()
        folder = Path(config.hydra.sweep.dir)
        try:
            with as_failures(folder):
                keep_command(config, folder)
                if any(folder.glob("*/.hydra")):  # a sweep over no values has no job
                    compare(folder)
        except RunFailed as failure:  # Hydra would make a warning of it
            type(self).failure = failure


def lead_workers() -> None:
    """Before joblib starts its workers: a signal is passed on to them, and waits until they have ended their jobs, as
    joblib would kill them.
    """
    received.waits = True
    received.pass_on = lambda number: [os.kill(worker.pid, number) for worker in multiprocessing.active_children()]


def keep_command(config: DictConfig, folder: Path) -> None:
    """multirun.yaml, from which the comparison has the sweep's command: Hydra's own sweeper has written it, others do
    not.
    """
    if first_process() and folder.is_dir():
        write_whole(folder / "multirun.yaml", OmegaConf.to_yaml(config))


def compare(folder: Path) -> None:
    """comparison.csv, .md and .png in the sweep's folder, by the first of a job's processes."""
    if not first_process():
        return
    from model.report.sweep_report import write_comparison

    log.info("compared in %s", ", ".join(str(path) for path in write_comparison(folder)))


def end_sweep(exit_in_order: bool) -> int:
    """The exit code of the sweep that this process has run, from its files, as jobs may run elsewhere: 1 when a job
    failed or did not end, 2 when there is none.

    exit_in_order: whether Hydra came to its end, and so has written the comparison.
    """
    from model.report.sweep_jobs import read_jobs

    folder = SweepComparison.folder
    if folder is None or not first_process():
        return 0
    jobs = read_jobs(folder) if os.path.isdir(folder) else []
    if jobs and not exit_in_order:
        with suppress(OSError):  # the sweep has ended with an error, which is reported; a full disk can cause both
            compare(folder)
    if SweepComparison.failure is not None:
        print(SweepComparison.failure, file=sys.stderr)
        return 1
    if not jobs and exit_in_order:
        print("the sweep has no job; allowed: at least one value for every key", file=sys.stderr)
        return 2
    if exit_in_order and not any(job.ended for job in jobs):
        print(
            f"no job of the sweep has ended with figures; {folder / 'comparison.md'} has the reasons", file=sys.stderr
        )
    return int(not all(job.ended for job in jobs))
