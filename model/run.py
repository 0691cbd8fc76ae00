"""One run: configuration -> parts -> session -> fit, evaluate -> Summary. Tests call `run` without a subprocess."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from model.build import build_parts, loss_formula, processes, reference_towers
from model.checkpoint.files import LAST, initial_seed, load_weights
from model.checkpoint.healing import checkpoint_to_start
from model.checkpoint.past import check_resume
from model.checkpoint.rows import repair_folder
from model.config.decisions import PastRun
from model.config.schema import RunConfig
from model.data import check_source
from model.ending import require_steps, summarise, write_results
from model.errors import ConfigError
from model.failures import record_end
from model.launch import board, first_process
from model.memory import forget_peak
from model.record.disk import as_failures
from model.record.folder import (
    has_run_without_checkpoint,
    move_slurm_checkpoints,
    refuse_used_folder,
    remove_run_without_checkpoint,
)
from model.record.summary import Summary
from model.session import Session, check_interval, check_trainer_arguments, make_session
from model.side_process import SideProcess

log = logging.getLogger(__name__)
# Warnings of Lightning that do not apply here: advice on workers and on the logging interval, a deprecation of its own,
# callbacks that a continued run no longer has (the run lists changed settings itself), and frozen towers, which are in
# evaluation mode.
IRRELEVANT_WARNINGS = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*treespec, LeafSpec.*",
    ".*callbacks used to create.*",
    r".*module\(s\) in eval mode at the start of training.*",
)


def run(config: RunConfig, folder: Path, side: SideProcess | None = None) -> Summary:
    """Trains in `folder` as `config` says, or only evaluates with train=false; returns the content of summary.json.

    side: does a part of the work that follows training; None: this process does all.

    Raises ConfigError, before anything is written, where the configuration cannot work. Any other failure is recorded
    in summary.json (that of an evaluation in evaluation.json) and raised.
    """
    check_source(config.data)
    loss_formula(config.loss)
    try:
        start = starting_point(config, folder)
        past = None
        if config.train and start is not None:
            past = check_resume(config, start, processes(config.trainer))
        with as_failures(folder), matmul_precision(config.trainer.matmul_precision):
            if config.train and first_process():
                repair_folder(folder, start)
            return train_and_evaluate(config, folder, start, past, side or SideProcess())
    except ConfigError:
        raise
    except BaseException as error:
        explanation = record_end(error, config, folder)
        if explanation is error:
            raise
        raise explanation from error


def train_and_evaluate(
    config: RunConfig, folder: Path, start: Path | None, past: PastRun | None, side: SideProcess
) -> Summary:
    """Builds the run, trains, evaluates and writes the results.

    start: the checkpoint that the run continues from or evaluates; past: the run that it continues; side: see `run`.
    """
    silence_lightning()
    forget_peak()
    check_trainer_arguments(config.trainer)
    pl.seed_everything(config.seed, verbose=False)
    parts = build_parts(config, folder, start)
    session = make_session(config, folder, parts, past)
    seconds = fit(session, start)
    summary = summarise(session, seconds)
    if session.trainer.is_global_zero:
        seed = initial_seed(start, config.seed) if start is not None else config.seed
        begun = start.parent.parent if start is not None else folder
        write_results(session, summary, partial(reference_towers, config, parts, seed, begun), side)
    return summary


def fit(session: Session, start: Path | None) -> float:
    """Trains, or with train=false only loads the weights; returns the seconds that it took."""
    began = time.perf_counter()
    module, train = session.parts.module, session.config.train
    if start is not None:
        weights = load_weights(start, module)  # checks the checkpoint, also where Lightning loads it below
        if not train:
            module.load_state_dict(weights)
    if train:
        check_interval(session)
        session.trainer.fit(module, datamodule=session.parts.data, ckpt_path=start, weights_only=True)
        require_steps(session)
    return time.perf_counter() - began


def starting_point(config: RunConfig, folder: Path) -> Path | None:
    """Returns the checkpoint to continue from or to evaluate; None for a run that starts. The first process decides."""
    path = board.agree(f"{folder.name}/start", lambda: choose_checkpoint(config, folder))
    return Path(path) if path is not None else None


def choose_checkpoint(config: RunConfig, folder: Path) -> str | None:
    """Returns the checkpoint that ckpt_path names, and prepares the folder; None for a run that starts.

    Raises ConfigError where there is no such checkpoint, or the folder holds another run.
    """
    if first_process():
        move_slurm_checkpoints(folder)
    if config.ckpt_path == LAST and config.train and has_run_without_checkpoint(folder):
        log.warning(
            "%s has no checkpoint, as the run was interrupted before its first one: it trains from the beginning",
            folder,
        )
    elif config.ckpt_path is not None:
        return str(checkpoint_to_start(folder, config.ckpt_path, trains=config.train))
    if config.train and first_process():
        refuse_used_folder(folder)
        remove_run_without_checkpoint(folder)
    return None


@contextmanager
def matmul_precision(value: str | None) -> Iterator[None]:
    """Sets torch's precision of float32 matrix products within the block; None leaves it as it is.

    The setting belongs to the process, and the next job of a sweep must not inherit it.
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


def silence_lightning() -> None:
    """Silences Lightning's info messages and the warnings that do not apply here; keeps its other warnings."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in IRRELEVANT_WARNINGS:
        warnings.filterwarnings("ignore", message)
