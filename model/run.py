"""One run: configuration -> data, module, trainer -> fit, evaluate -> Summary. Tests call `run` without a subprocess."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from model.analysis.callbacks import ValidationAnalysis, analyse
from model.build import check_reference, make_data, make_module, reference_towers, resolved_sizes
from model.checkpoint.callbacks import RandomState, RunCheckpoints, WholeFileIO
from model.checkpoint.files import BEST, checkpoint_path, find_checkpoint, initial_seed, load_weights
from model.config.compose import config_hash
from model.config.folder import METRICS, refuse_used_folder
from model.config.schema import RunConfig, TrainerConfig
from model.data import check_source
from model.data.module import CaptionData
from model.errors import ConfigError
from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from model.module import NWayClip
from model.report.callbacks import JournalCallback, ProgressBar, StepClock, make_loggers
from model.report.closing import print_closing
from model.report.summary import Summary, record_failure
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
        record_failure(folder, f"{type(error).__name__}: {error}")
        raise


def train_and_evaluate(config: RunConfig, folder: Path, start: Path | None) -> Summary:
    """`start`: the checkpoint to go on from, or to evaluate."""
    quieten()
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
        summary.write("summary.json" if config.train else "evaluation.json")
        if not config.trainer.fast_dev_run:
            seed = initial_seed(start, config.seed) if start is not None else config.seed
            analyse_run(session, partial(reference_towers, config, sizes, data, seed))
        if config.trainer.enable_progress_bar:
            print_closing(summary, data.sizes(), summary.notes["ceiling"])
    return summary


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
        callbacks.append(JournalCallback(folder / METRICS))
    if config.trainer.early_stopping_patience is not None:
        callbacks.append(EarlyStopping("train/epoch_loss", patience=config.trainer.early_stopping_patience, check_on_train_epoch_end=True))
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
    metrics |= evaluate_splits(session)
    skipped = session.health.counts.get("skipped", 0) + session.health.counts.get("scaler_skips", 0) if session.health else 0
    return Summary(
        folder=session.folder,
        status=status,
        metrics=metrics,
        config_hash=config_hash(config),
        steps={"attempted": attempted, "applied": attempted - skipped},
        seconds=seconds,
        step_seconds=session.clock.median(config.trainer.accumulate_grad_batches),
        peak_memory_mib=peak_memory_mib(),
        notes={
            "views": list(module.encoder.plan.names),
            "parameters": sum(p.numel() for p in module.parameters()),
            "batch_size": config.data.batch_size * trainer.world_size,
            "ceiling": {split: session.data.ceiling(split) for split in ("val", *config.evaluate) if session.data.ceiling(split)},
        },
    )


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


def peak_memory_mib() -> float:
    """Of the GPU's allocations where there is one, else of the process's resident size."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
