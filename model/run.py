"""One run: configuration -> data, module, trainer -> fit, evaluate -> Summary. Tests call `run` without a subprocess."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from model.build import check_reference, make_data, make_module, reference_towers, resolved_sizes
from model.checkpoint.files import initial_seed, load_weights
from model.checkpoint.healing import checkpoint_to_start
from model.checkpoint.rows import mend_folder
from model.config.folder import first_process, refuse_used_folder
from model.config.schema import RunConfig
from model.data import check_source
from model.ending import draws, require_steps, summarise, write_results
from model.errors import ConfigError, failure_reason
from model.memory import forget_peak
from model.report.callback_loggers import close_loggers
from model.report.draw import draw_report
from model.report.summary import EVALUATION, SUMMARY, Summary, record_failure
from model.session import check_interval, check_trainer_arguments, make_session

# Lightning's advice that does not hold here (batches are made faster in the main process than they can be sent), and one of its own deprecations.
NOT_MEANT = (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*treespec, LeafSpec.*")


def run(config: RunConfig, folder: Path) -> Summary:
    """Trains (or, with train=false, only evaluates) as `config` says, in `folder`; returns what is written to summary.json.

    Raises ConfigError before anything is read or written when the configuration cannot work; any other failure is recorded in
    summary.json (of an evaluation in evaluation.json) and raised again.
    """
    check_source(config.data)
    start = checkpoint_to_start(folder, config.ckpt_path, trains=config.train) if config.ckpt_path is not None else None
    if config.train and start is None and "LOCAL_RANK" not in os.environ:
        refuse_used_folder(folder)
    if config.train and first_process():
        mend_folder(folder, start)
    try:
        with matmul_precision(config.trainer.matmul_precision):
            return train_and_evaluate(config, folder, start)
    except ConfigError:
        raise
    except BaseException as error:
        stopped = isinstance(error, (SystemExit, KeyboardInterrupt))  # a signal, after which Lightning leaves in order
        reason = "interrupted" if stopped else failure_reason(error)
        record_failure(folder, reason, SUMMARY if config.train else EVALUATION)  # a finished run's summary outlives what comes after it
        close_loggers(config.logger, failed=True)
        if draws(config) and isinstance(error, Exception) and first_process():
            draw_report(folder)
        raise


@contextmanager
def matmul_precision(value: str | None) -> Iterator[None]:
    """Torch's switch for float32 matrix products, which belongs to the process: the next job of a sweep finds it as it was. None leaves it alone."""
    if value is None:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(value)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def train_and_evaluate(config: RunConfig, folder: Path, start: Path | None) -> Summary:
    """`start`: the checkpoint to go on from, or to evaluate."""
    quieten()
    forget_peak()
    check_trainer_arguments(config.trainer)
    pl.seed_everything(config.seed, verbose=False)
    sizes = resolved_sizes(config.backbone)
    check_reference(config, sizes)
    data = make_data(config, sizes, folder, start)
    session = make_session(config, folder, data, make_module(config, sizes, data))
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
