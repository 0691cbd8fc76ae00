"""The end of a run that fails or is interrupted: the reason in summary.json, a report, the message for the user."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from model.config.schema import RunConfig
from model.errors import LossFunctionError, RunFailed, failure_reason
from model.interruption import Interrupted, received
from model.launch import board, first_process, rank
from model.loggers import close_loggers
from model.record.folder import can_resume
from model.record.summary import ENDED, EVALUATION, SUMMARY, read_summary, record_failure
from model.report.commands import RUN_FOLDER, as_value, from_here
from model.report.draw import draw_report


def record_end(error: BaseException, config: RunConfig, folder: Path) -> BaseException:
    """Records why the run in `folder` has ended; returns the exception that explains it, `error` or another one.

    The reason is written to summary.json, and that of an evaluation to evaluation.json. After a signal, the explanation
    is Interrupted, also where something else failed because of the signal, such as another process.
    """
    name = SUMMARY if config.train else EVALUATION
    if received.number is not None:
        close_loggers(config.logger, failed=True)
        return record_interruption(Interrupted(received.number), folder, name)
    failure = explanation(error, folder)
    if first_process():
        record_failure(folder, failure_reason(failure), name)
    close_loggers(config.logger, failed=True)
    if draws_report(config) and isinstance(error, Exception) and first_process():
        with suppress(OSError):  # a full disk may be why the run failed
            draw_report(folder)
    return failure


def draws_report(config: RunConfig) -> bool:
    """Returns whether the run ends with a report."""
    return config.report and not config.trainer.fast_dev_run


def explanation(error: BaseException, folder: Path) -> BaseException:
    """Returns `error`; a RunFailed for a wrong result of the user's loss function; or the RunFailed of another process
    of the run where `error` is only its consequence, such as a lost connection.
    """
    key = f"{folder.name}/failure"
    if isinstance(error, LossFunctionError):
        error = RunFailed(str(error))
    with suppress(RuntimeError):  # raised where the process that has opened the store has ended
        if isinstance(error, RunFailed):
            board.publish(f"{key}/{rank()}", str(error))
        elif isinstance(error, Exception):
            return next((RunFailed(text) for text in board.published_by_others(key)), error)
    return error


def record_interruption(interrupted: Interrupted, folder: Path, name: str) -> Interrupted:
    """Records the interruption in the file `name`; returns the exception with two lines for the user: where the files
    are, and how to continue.
    """
    if first_process():
        record_failure(folder, interrupted.reason, name, status="interrupted")
    arguments = f"{RUN_FOLDER}={as_value(from_here(folder))}"
    if can_resume(folder) and name == SUMMARY:
        arguments += " ckpt_path=last"
    has_ended = read_summary(folder, name).get("status") in ENDED
    reason = f"{interrupted.reason} after training and evaluation" if has_ended else interrupted.reason
    text = f"{reason}; the files are in {folder}\nto continue: the same command with {arguments}"
    return Interrupted(interrupted.number, text)
