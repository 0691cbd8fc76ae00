"""One run: configuration -> data, module, trainer -> fit, evaluate -> Summary. Tests call `run` without a
subprocess.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from model.build import check_reference, loss_formula, make_data, make_module, processes, reference_towers
from model.checkpoint.files import LAST, initial_seed, load_weights
from model.checkpoint.healing import checkpoint_to_start
from model.checkpoint.past import going_on
from model.checkpoint.rows import mend_folder
from model.config.schema import RunConfig
from model.data import check_source
from model.ending import draws, require_steps, summarise, write_results
from model.errors import ConfigError, RunFailed, failure_reason
from model.interruption import Interrupted, received
from model.launch import board, first_process, rank
from model.loggers import close_loggers
from model.memory import forget_peak
from model.record.disk import as_failures
from model.record.folder import (
    can_go_on,
    clear_cut_run,
    cut_before_checkpoint,
    put_away_slurm_checkpoints,
    refuse_used_folder,
)
from model.record.summary import ENDED, EVALUATION, SUMMARY, Summary, read_summary, record_failure
from model.report.commands import RUN_FOLDER, as_value, from_here
from model.report.draw import draw_report
from model.session import check_interval, check_trainer_arguments, make_session
from model.views.backbone_sizes import resolved_sizes

log = logging.getLogger(__name__)
# Lightning's advice that does not hold here (batches are made faster in the main process than they can be sent), one of
# its own deprecations, and callbacks that a run which goes on has no longer: those settings are listed.
NOT_MEANT = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*treespec, LeafSpec.*",
    ".*callbacks used to create.*",
)


def run(config: RunConfig, folder: Path) -> Summary:
    """Trains (or, with train=false, only evaluates) as `config` says, in `folder`; returns what is written to
    summary.json.

    Raises ConfigError before anything is read or written when the configuration cannot work; any other failure is
    recorded in summary.json (of an evaluation in evaluation.json) and raised again.
    """
    check_source(config.data)
    loss_formula(config.loss)
    try:
        agreed = board.agree(f"{folder.name}/start", lambda: starting_point(config, folder))
        start = Path(agreed) if agreed is not None else None
        steps = going_on(config, start, processes(config)).steps if config.train and start is not None else 0
        with as_failures(folder), matmul_precision(config.trainer.matmul_precision):
            if config.train and first_process():
                mend_folder(folder, start)
            return train_and_evaluate(config, folder, start, steps)
    except ConfigError:
        raise
    except BaseException as error:
        name = SUMMARY if config.train else EVALUATION
        if (
            received.number is not None
        ):  # also where something else failed because of the signal, such as another process
            raise left_in_order(Interrupted(received.number), config, folder, name) from error
        failure = agreed_failure(error, folder)
        if first_process():
            record_failure(folder, failure_reason(failure), name)
        close_loggers(config.logger, failed=True)
        if draws(config) and isinstance(error, Exception) and first_process():
            with suppress(OSError):  # the disk may be why the run failed
                draw_report(folder)
        if failure is error:
            raise
        raise failure from error


def agreed_failure(error: BaseException, folder: Path) -> BaseException:
    """The error that explains the failure: `error`, or the RunFailed of another process of the run, whose consequence
    `error` is (a lost connection).
    """
    key = f"{folder.name}/failure"
    with suppress(RuntimeError):  # raised where the process that has the store has ended
        if isinstance(error, RunFailed):
            board.tell(f"{key}/{rank()}", str(error))
        elif isinstance(error, Exception):
            return next((RunFailed(text) for text in board.told_by_others(key)), error)
    return error


def starting_point(config: RunConfig, folder: Path) -> str | None:
    """The checkpoint to go on from, or to evaluate; None to start. Raises ConfigError where that cannot be."""
    if first_process():
        put_away_slurm_checkpoints(folder)
    if config.ckpt_path == LAST and config.train and cut_before_checkpoint(folder):
        log.warning(
            "%s has no checkpoint, as the run was interrupted before its first one: it trains from the beginning",
            folder,
        )
    elif config.ckpt_path is not None:
        return str(checkpoint_to_start(folder, config.ckpt_path, trains=config.train))
    if config.train and first_process():
        refuse_used_folder(folder)
        clear_cut_run(folder)
    return None


def left_in_order(interrupted: Interrupted, config: RunConfig, folder: Path, name: str) -> Interrupted:
    """Records the interruption and closes the loggers; returns the exception with two lines for the user."""
    close_loggers(config.logger, failed=True)
    if first_process():
        record_failure(folder, interrupted.reason, name, status="interrupted")
    where = f"{RUN_FOLDER}={as_value(from_here(folder))}"
    goes_on = f"{where} ckpt_path=last" if can_go_on(folder) and config.train else where
    done = " after training and evaluation" if read_summary(folder, name).get("status") in ENDED else ""
    return Interrupted(
        interrupted.number,
        f"{interrupted.reason}{done}; the files are in {folder}\nto continue: the same command with {goes_on}",
    )


@contextmanager
def matmul_precision(value: str | None) -> Iterator[None]:
    """Torch's switch for float32 matrix products, which belongs to the process: the next job of a sweep finds it as it
    was. None leaves it alone.
    """
    if value is None:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(value)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def train_and_evaluate(config: RunConfig, folder: Path, start: Path | None, steps: int) -> Summary:
    """`start`: the checkpoint to go on from, or to evaluate; `steps`: those that a run which goes on has made
    already.
    """
    quieten()
    forget_peak()
    check_trainer_arguments(config.trainer)
    pl.seed_everything(config.seed, verbose=False)
    sizes = resolved_sizes(config.backbone)
    check_reference(config, sizes)
    data = make_data(config, sizes, folder, start)
    session = make_session(config, folder, data, make_module(config, sizes, data), steps)
    began = time.perf_counter()
    if start is not None:
        weights = load_weights(start, session.module)
        if not config.train:
            session.module.load_state_dict(weights)
    if config.train:
        check_interval(session)
        session.trainer.fit(session.module, datamodule=data, ckpt_path=start, weights_only=True)
        require_steps(session)
    seconds = time.perf_counter() - began
    summary = summarise(session, seconds)
    if session.trainer.is_global_zero:
        seed = initial_seed(start, config.seed) if start is not None else config.seed
        write_results(session, summary, partial(reference_towers, config, sizes, data, seed))
    return summary


def quieten() -> None:
    """Leaves Lightning's warnings and drops its small talk."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in NOT_MEANT:
        warnings.filterwarnings("ignore", message)
