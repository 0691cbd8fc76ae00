"""What one run works with: the trainer and everything that hangs on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytorch_lightning as pl

from model.analysis.callbacks import ValidationAnalysis
from model.checkpoint.callbacks import RandomState, RunCheckpoints, WholeFileIO
from model.checkpoint.early_stopping import EarlyStopping
from model.checkpoint.on_signal import NoSignals, StopOnSignal
from model.config.compose import as_dict
from model.config.schema import RunConfig, TrainerConfig
from model.data.module import CaptionData
from model.errors import ConfigError, first_line, require
from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from model.health.view_callback import ViewHealthCallback
from model.interruption import received
from model.launch import board, by_lightning, by_torchrun, first_process, launched
from model.loggers import make_loggers
from model.module import NWayClip
from model.record.callbacks import MetricsCallback, ProgressBar, StepClock
from model.record.folder import METRICS

# Keys of conf/trainer that Lightning's Trainer does not know.
OWN_TRAINER_KEYS = ("name", "checkpoint_every_n_steps", "early_stopping_patience", "matmul_precision")


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
    view_health: ViewHealthCallback | None


def make_session(config: RunConfig, folder: Path, data: CaptionData, module: NWayClip, steps: int = 0) -> Session:
    """Order matters: what records comes before what writes checkpoints. steps: those that a run which goes on has made
    already.
    """
    writes = not config.trainer.fast_dev_run
    random_state, clock, health, view_health = RandomState(config.seed), StepClock(), None, None
    callbacks: list[pl.Callback] = [random_state, clock]
    if config.monitor.enabled:
        health = GradientHealthCallback(health_settings(config), folder if writes else None, config.seed)
        view_health = ViewHealthCallback()
        callbacks += [health, view_health]
    if config.analysis.geometry or config.analysis.drift:
        callbacks.append(ValidationAnalysis(geometry=config.analysis.geometry, drift=config.analysis.drift))
    if writes:
        callbacks.append(MetricsCallback(folder / METRICS, as_dict(config)))
    if config.trainer.early_stopping_patience is not None:
        # strict: an epoch in which every step was left out has no loss, which ends no run.
        patience = config.trainer.early_stopping_patience
        callbacks.append(
            EarlyStopping("train/epoch_loss", patience=patience, check_on_train_epoch_end=True, strict=False)
        )
    if config.trainer.enable_progress_bar:
        callbacks.append(ProgressBar())
    checkpoints = None
    if config.trainer.enable_checkpointing and writes:
        checkpoints = RunCheckpoints(folder, config.trainer.checkpoint_every_n_steps, as_dict(config), config.objective)
    callbacks += [StopOnSignal(checkpoints, random_state), *([checkpoints] if checkpoints else [])]
    trainer = pl.Trainer(
        **lightning_arguments(config.trainer),
        callbacks=callbacks,
        logger=make_loggers(config.logger, folder, steps) if writes else False,
        plugins=[WholeFileIO()],
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer._signal_connector = NoSignals()
    check_processes(trainer)
    lead_further_processes(trainer)
    return Session(config, folder, data, module, trainer, clock, health, view_health)


def check_processes(trainer: pl.Trainer) -> None:
    """Raises ConfigError where torchrun or srun has started another number of processes than the configuration asks
    for.
    """
    wanted, found = trainer.num_devices * trainer.num_nodes, launched()
    # A batch script of Slurm has the variables of srun too, and its one process may well train alone.
    if found is not None and found != wanted and (by_torchrun() or not first_process()):
        problem = (
            f"trainer.devices={trainer.num_devices} on trainer.num_nodes={trainer.num_nodes} is {wanted} "
            f"processes, but {found} were started"
        )
        raise ConfigError(f"{problem}; allowed: as many devices as processes are started on each node")


def lead_further_processes(trainer: pl.Trainer) -> None:
    """For a run whose further processes Lightning starts. The first process tells them what it knows, passes a signal
    on, and takes them along at a second one. All meet before torch connects them, as a process that waits in torch
    cannot be interrupted.
    """
    launcher = trainer.strategy.launcher
    if trainer.world_size == 1 or not hasattr(launcher, "procs"):
        return
    environment = launcher.cluster_environment
    if not environment.creates_processes_externally:
        board.host(trainer.world_size)
        received.pass_on = launcher.kill
    elif not by_lightning():
        return
    number_self = environment.set_global_rank  # the last thing that Lightning does before

    def meet(rank: int) -> None:
        number_self(rank)
        board.meet(lambda: [process.poll() for process in launcher.procs])

    environment.set_global_rank = meet


def check_trainer_arguments(trainer: TrainerConfig) -> None:
    """Raises ConfigError where Lightning can make no such Trainer on this machine, naming the key that is to blame."""
    arguments = lightning_arguments(trainer)
    reason = refusal(arguments)
    if reason is None:
        return
    for key, value in arguments.items():
        alone = refusal({key: value})
        if alone is not None:
            raise ConfigError(
                f"trainer.{key}={value} cannot be used here ({alone}); allowed: what Lightning's Trainer takes on "
                f"this machine"
            )
    raise ConfigError(
        f"trainer={trainer.name} cannot be used here ({reason}); allowed: what Lightning's Trainer takes on this "
        f"machine"
    )


def refusal(arguments: dict) -> str | None:
    """The first line of the error with which a Trainer of these arguments is refused; None where there is one."""
    try:
        pl.Trainer(**arguments | {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False})
    except Exception as error:  # Lightning, torch and plugins refuse with errors of many kinds
        return first_line(error)[:200]
    return None


def check_interval(session: Session) -> None:
    """Raises ConfigError where trainer.val_check_interval is more batches than an epoch has."""
    interval, trainer = session.config.trainer.val_check_interval, session.trainer
    if isinstance(interval, int) and trainer.check_val_every_n_epoch is not None:
        batches = session.data.source.size("train") // (session.data.batch_size * trainer.world_size)
        limit = session.config.trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        problem, allowed = (
            "is more batches than an epoch has",
            f"1 to {batches}, or any number with trainer.check_val_every_n_epoch=null",
        )
        require(interval <= batches, "trainer.val_check_interval", interval, problem, allowed)


def health_settings(config: RunConfig) -> HealthSettings:
    """The monitor's own settings: the keys of conf/monitor that it knows."""
    return HealthSettings(**{field.name: getattr(config.monitor, field.name) for field in fields(HealthSettings)})


def lightning_arguments(trainer: TrainerConfig) -> dict:
    """What conf/trainer hands to Lightning's Trainer."""
    return {field.name: getattr(trainer, field.name) for field in fields(trainer) if field.name not in OWN_TRAINER_KEYS}
