"""One run: configuration -> data, module, trainer -> fit, evaluate -> Summary. Tests call `run` without a subprocess."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from model.analysis.callbacks import ValidationAnalysis, analyse
from model.build import check_reference, make_data, make_module, reference_towers, resolved_sizes
from model.checkpoint.callbacks import RandomState, RunCheckpoints, WholeFileIO
from model.checkpoint.files import BEST, checkpoint_path, find_checkpoint, initial_seed, load_weights
from model.config.compose import as_dict, config_hash
from model.config.folder import METRICS, first_process, refuse_used_folder
from model.config.schema import RunConfig, TrainerConfig
from model.data import check_source
from model.data.module import CaptionData
from model.errors import ConfigError
from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from model.memory import forget_peak, peak_mib
from model.module import NWayClip
from model.report.callback_loggers import close_loggers, finish_loggers, make_loggers
from model.report.callbacks import JournalCallback, ProgressBar, StepClock
from model.report.closing import print_closing
from model.report.draw import draw_report
from model.report.journal import read_rows
from model.report.summary import EVALUATION, OBJECTIVE, SUMMARY, Summary, record_failure
from model.views.towers import Towers

# Keys of conf/trainer that Lightning's Trainer does not know.
OWN_TRAINER_KEYS = ("name", "checkpoint_every_n_steps", "early_stopping_patience")
# Lightning's advice that does not hold here (batches are made faster in the main process than they can be sent), and one of its own deprecations.
NOT_MEANT = (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*treespec, LeafSpec.*")


@dataclass
class Session:
    """What one run works with."""

    config: RunConfig
    folder: Path
    data: CaptionData
    module: NWayClip
    trainer: pl.Trainer
    clock: StepClock
    health: GradientHealthCallback | None


def run(config: RunConfig, folder: Path) -> Summary:
    """Trains (or, with train=false, only evaluates) as `config` says, in `folder`; returns what is written to summary.json.

    Raises ConfigError before anything is read or written when the configuration cannot work; any other failure is recorded in
    summary.json and raised again.
    """
    check_source(config.data)
    start = find_checkpoint(folder, config.ckpt_path) if config.ckpt_path is not None else None
    if config.train and start is None and "LOCAL_RANK" not in os.environ:
        refuse_used_folder(folder)
    try:
        return train_and_evaluate(config, folder, start)
    except ConfigError:
        raise
    except BaseException as error:
        stopped = isinstance(error, (SystemExit, KeyboardInterrupt))  # a signal, after which Lightning leaves in order
        record_failure(folder, "interrupted" if stopped else f"{type(error).__name__}: {error}")
        close_loggers(config.logger, failed=True)
        if draws(config) and isinstance(error, Exception) and first_process():
            draw_report(folder)
        raise


def train_and_evaluate(config: RunConfig, folder: Path, start: Path | None) -> Summary:
    """`start`: the checkpoint to go on from, or to evaluate."""
    quieten()
    forget_peak()
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
        session.trainer.fit(session.module, datamodule=data, ckpt_path=start, weights_only=True)
    seconds = time.perf_counter() - began
    summary = summarise(session, seconds)
    if session.trainer.is_global_zero:
        summary.write(SUMMARY if config.train else EVALUATION)
        if not config.trainer.fast_dev_run:
            seed = initial_seed(start, config.seed) if start is not None else config.seed
            analyse_run(session, partial(reference_towers, config, sizes, data, seed))
        pictures = draw_report(folder) if draws(config) else []
        held_out = {key: value for key, value in summary.metrics.items() if key.startswith("test/")}
        if config.train:
            finish_loggers(config.logger, session.trainer.loggers, held_out, pictures, session.trainer.global_step)
        if config.trainer.enable_progress_bar:
            print_closing(summary, data.sizes(), summary.notes["ceiling"])
    return summary


def draws(config: RunConfig) -> bool:
    """Whether the run ends with a report."""
    return config.report and not config.trainer.fast_dev_run


def quieten() -> None:
    """Leaves Lightning's warnings and drops its small talk."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in NOT_MEANT:
        warnings.filterwarnings("ignore", message)


def make_session(config: RunConfig, folder: Path, data: CaptionData, module: NWayClip) -> Session:
    """The trainer with everything that hangs on it. Order matters: what records comes before what writes checkpoints."""
    writes = not config.trainer.fast_dev_run
    clock, health = StepClock(), None
    callbacks: list[pl.Callback] = [RandomState(config.seed), clock]
    if config.monitor.enabled:
        health = GradientHealthCallback(health_settings(config), folder if writes else None)
        callbacks.append(health)
    if config.analysis.geometry or config.analysis.drift:
        callbacks.append(ValidationAnalysis(geometry=config.analysis.geometry, drift=config.analysis.drift))
    if writes:
        callbacks.append(JournalCallback(folder / METRICS, as_dict(config)))
    if config.trainer.early_stopping_patience is not None:
        # strict: an epoch in which every step was left out has no loss, which ends no run.
        patience = config.trainer.early_stopping_patience
        callbacks.append(EarlyStopping("train/epoch_loss", patience=patience, check_on_train_epoch_end=True, strict=False))
    if config.trainer.enable_progress_bar:
        callbacks.append(ProgressBar())
    if config.trainer.enable_checkpointing and writes:
        callbacks.append(RunCheckpoints(folder, config.trainer.checkpoint_every_n_steps, config_hash(config)))
    trainer = pl.Trainer(
        **lightning_arguments(config.trainer),
        callbacks=callbacks,
        logger=make_loggers(config.logger, folder) if writes else False,
        plugins=[WholeFileIO()],
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    return Session(config, folder, data, module, trainer, clock, health)


def health_settings(config: RunConfig) -> HealthSettings:
    """The monitor's own settings: the keys of conf/monitor that it knows."""
    return HealthSettings(**{field.name: getattr(config.monitor, field.name) for field in fields(HealthSettings)})


def lightning_arguments(trainer: TrainerConfig) -> dict:
    """What conf/trainer hands to Lightning's Trainer."""
    return {field.name: getattr(trainer, field.name) for field in fields(trainer) if field.name not in OWN_TRAINER_KEYS}


def summarise(session: Session, seconds: float) -> Summary:
    """Evaluates the splits that are asked for and gathers everything the run has to say."""
    config, trainer, module = session.config, session.trainer, session.module
    attempted = trainer.global_step
    status = "complete" if not (trainer.should_stop or trainer.interrupted) else "stopped"
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(("val/", "train/"))}
    metrics |= last_validation(session.folder / METRICS) if config.train else {}
    metrics |= evaluate_splits(session)
    counts = session.health.counts if session.health else {}
    skipped = counts.get("skipped", 0) + counts.get("scaler_skips", 0)
    return Summary(
        folder=session.folder,
        status=status,
        metrics=metrics,
        config_hash=config_hash(config),
        steps={"attempted": attempted, "applied": attempted - skipped, "skipped": skipped, "clipped": counts.get("clipped", 0)},
        seconds=seconds,
        step_seconds=session.clock.median(config.trainer.accumulate_grad_batches),
        peak_memory_mib=peak_mib(),
        notes={
            "views": list(module.encoder.plan.names),
            "parameters": sum(p.numel() for p in module.parameters()),
            "batch_size": config.data.batch_size * trainer.world_size,
            "samples": session.data.sizes(),
            "ceiling": {split: session.data.ceiling(split) for split in ("val", *config.evaluate) if session.data.ceiling(split)},
        },
    )


def last_validation(path: Path) -> dict[str, float]:
    """`val/*` figures of the last validation, from the file: a run continued from its very end does not validate again."""
    rows = [row for row in read_rows(path) if OBJECTIVE in row]
    return {key: float(value) for key, value in rows[-1].items() if key.startswith("val/")} if rows else {}


def evaluate_splits(session: Session) -> dict[str, float]:
    """`<split>/<figure>` of every split of `evaluate`, with the best weights where there are some."""
    config, folder = session.config, session.folder
    best = checkpoint_path(folder, BEST)
    if not config.evaluate or config.trainer.fast_dev_run:
        return {}
    if config.train and config.trainer.enable_checkpointing and best.is_file():
        session.module.load_state_dict(load_weights(best, session.module))
    # Without a fit the data do not know yet which process they are in.
    session.data.trainer = session.trainer
    figures = {}
    for split in dict.fromkeys(config.evaluate):
        session.trainer.test(session.module, dataloaders=session.data.eval_dataloader(split), verbose=False)
        figures |= {f"{split}/{name}": float(value) for name, value in session.trainer.callback_metrics.items()}
    return figures


def analyse_run(session: Session, make_reference: Callable[[], tuple[Towers, str]]) -> None:
    """analysis.json and what belongs to it. The run is over and its summary written: nothing that happens here can make it a failed one."""
    try:
        analyse(session.trainer, session.module, session.data, session.config, session.folder, make_reference)
    except (Exception, KeyboardInterrupt) as error:
        warnings.warn(f"the run has no analysis: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)
