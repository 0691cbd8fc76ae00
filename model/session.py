"""Builds Lightning's Trainer with the callbacks and loggers of one run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import Tensor

from model.analysis.callbacks import ValidationAnalysis
from model.analysis.retrieval import MatchCounts
from model.build import Parts
from model.checkpoint.callbacks import RandomState, RunCheckpoints, WholeFileIO
from model.checkpoint.early_stopping import EarlyStopping
from model.checkpoint.on_signal import NoSignals, StopOnSignal
from model.config.best import Best, best_of
from model.config.compose import as_dict
from model.config.decisions import PastRun
from model.config.schema import MonitorConfig, RunConfig, TrainerConfig
from model.errors import ConfigError, first_line, require
from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from model.health.view_callback import ViewHealthCallback
from model.interruption import received
from model.launch import board, by_lightning, by_torchrun, first_process, launched_count
from model.loggers import make_loggers
from model.record.callbacks import MetricsCallback, ProgressBar, StepClock
from model.record.folder import METRICS

# Keys of conf/trainer that Lightning's Trainer does not have.
OWN_TRAINER_KEYS = (
    "name",
    "checkpoint_every_n_steps",
    "early_stopping_patience",
    "matmul_precision",
    "best",
    "best_mode",
)


@dataclass
class Session:
    """A run that is ready to train: its parts, the Trainer, and the callbacks that are read after training."""

    config: RunConfig
    folder: Path
    parts: Parts
    trainer: pl.Trainer
    clock: StepClock
    health: GradientHealthCallback | None
    view_health: ViewHealthCallback | None
    checkpoints: RunCheckpoints | None
    best: Best
    """The figure that chooses best.ckpt."""
    evaluated_views: dict[str, Tensor] = field(default_factory=dict)
    """Split of `evaluate` -> the views (n, N, D) of its first rows, which the analysis reads. A split that was
    evaluated only in part is absent.
    """
    evaluated_ranks: dict[str, list[MatchCounts]] = field(default_factory=dict)
    """Split of `evaluate` -> the ranks of all its rows from the other views of each sample. The analysis reads them if
    it analyses all rows.
    """


def make_session(config: RunConfig, folder: Path, parts: Parts, past: PastRun | None = None) -> Session:
    """Builds the session of a run in `folder`. past: the run that it continues.

    Raises ConfigError where the processes that were started do not match the configuration.
    """
    writes_files = not config.trainer.fast_dev_run
    best = best_of(config, past.best_metric if past is not None and past.best is not None else None)
    clock, random_state = StepClock(), RandomState(config.seed)
    health = view_health = checkpoints = None
    if config.monitor.enabled:
        run_dir = folder if writes_files else None
        health = GradientHealthCallback(health_settings(config.monitor), run_dir, config.seed)
        view_health = ViewHealthCallback()
    if config.trainer.enable_checkpointing and writes_files:
        checkpoints = RunCheckpoints(folder, config.trainer.checkpoint_every_n_steps, as_dict(config), best)
    # The callbacks that record come before those that write checkpoints, which hold the state of all of them.
    callbacks = [random_state, clock, health, view_health, *recording_callbacks(config, folder, writes_files, best)]
    callbacks += [StopOnSignal(checkpoints, random_state), checkpoints]
    trainer = pl.Trainer(
        **lightning_arguments(config.trainer),
        callbacks=[callback for callback in callbacks if callback is not None],
        logger=make_loggers(config.logger, folder, past.steps if past else 0) if writes_files else False,
        plugins=[WholeFileIO()],
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    cast(Any, trainer)._signal_connector = NoSignals()  # Lightning has no argument for it
    check_processes(trainer)
    connect_started_processes(trainer)
    return Session(config, folder, parts, trainer, clock, health, view_health, checkpoints, best)


def recording_callbacks(config: RunConfig, folder: Path, writes_files: bool, best: Best) -> list[pl.Callback | None]:
    """Returns the callbacks that read the figures of a step or a validation; None for one that is switched off."""
    analysis, trainer = config.analysis, config.trainer
    measured = ValidationAnalysis(geometry=analysis.geometry, drift=analysis.drift)
    return [
        measured if analysis.geometry or analysis.drift else None,
        MetricsCallback(folder / METRICS, as_dict(config)) if writes_files else None,
        EarlyStopping(best, trainer.early_stopping_patience) if trainer.early_stopping_patience is not None else None,
        ProgressBar() if trainer.enable_progress_bar else None,
    ]


def check_processes(trainer: pl.Trainer) -> None:
    """Raises ConfigError where torchrun or srun has started another number of processes than the configuration asks
    for.
    """
    wanted, started = trainer.num_devices * trainer.num_nodes, launched_count()
    # A batch script of Slurm has the variables of srun too, and its single process may train alone.
    if started is not None and started != wanted and (by_torchrun() or not first_process()):
        problem = (
            f"trainer.devices={trainer.num_devices} on trainer.num_nodes={trainer.num_nodes} is {wanted} "
            f"processes, but {started} were started"
        )
        raise ConfigError(f"{problem}; allowed: as many devices as processes are started on each node")


def connect_started_processes(trainer: pl.Trainer) -> None:
    """Connects the processes of a run whose further processes Lightning starts; does nothing in other runs.

    The first process publishes its decisions to them, passes a signal on to them, and ends them at a second signal. All
    processes wait for each other before torch connects them, because a process that waits in torch cannot be
    interrupted.
    """
    launcher = trainer.strategy.launcher
    if trainer.world_size == 1 or not isinstance(launcher, _SubprocessScriptLauncher):
        return
    environment = launcher.cluster_environment
    if not environment.creates_processes_externally:
        board.open_store(trainer.world_size)
        received.pass_on = launcher.kill
    elif not by_lightning():
        return
    set_global_rank = environment.set_global_rank  # the last method that Lightning calls before torch connects

    def wait_then_connect(rank: int) -> None:
        set_global_rank(rank)
        board.wait_for_all(lambda: [process.poll() for process in launcher.procs])

    cast(Any, environment).set_global_rank = wait_then_connect  # of this object only


def check_trainer_arguments(trainer: TrainerConfig) -> None:
    """Raises ConfigError where Lightning cannot make this Trainer on this machine; names the key that is the reason."""
    arguments = lightning_arguments(trainer)
    reason = refusal(arguments)
    if reason is None:
        return
    allowed = "what Lightning's Trainer takes on this machine"
    for key, value in arguments.items():
        reason_alone = refusal({key: value})
        if reason_alone is not None:
            raise ConfigError(f"trainer.{key}={value} cannot be used here ({reason_alone}); allowed: {allowed}")
    raise ConfigError(f"trainer={trainer.name} cannot be used here ({reason}); allowed: {allowed}")


def refusal(arguments: dict[str, Any]) -> str | None:
    """Returns the first line of the error that Lightning raises for these arguments; None where it raises none."""
    try:
        pl.Trainer(**arguments | {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False})
    except Exception as error:  # Lightning, torch and plugins raise errors of many types
        return first_line(error)[:200]
    return None


def check_interval(session: Session) -> None:
    """Raises ConfigError where trainer.val_check_interval is more batches than an epoch has."""
    interval, trainer, data = session.config.trainer.val_check_interval, session.trainer, session.parts.data
    if not isinstance(interval, int) or trainer.check_val_every_n_epoch is None:
        return
    batches = data.source.size("train") // (data.batch_size * trainer.world_size)
    limit = session.config.trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    allowed = f"1 to {batches}, or any number with trainer.check_val_every_n_epoch=null"
    problem = "is more batches than an epoch has"
    require(interval <= batches, "trainer.val_check_interval", interval, problem, allowed)


def health_settings(monitor: MonitorConfig) -> HealthSettings:
    """Returns the settings of the gradient monitor: the keys of conf/monitor that it has."""
    return HealthSettings(**{field.name: getattr(monitor, field.name) for field in fields(HealthSettings)})


def lightning_arguments(trainer: TrainerConfig) -> dict[str, Any]:
    """Returns the keys of conf/trainer that Lightning's Trainer has."""
    return {field.name: getattr(trainer, field.name) for field in fields(trainer) if field.name not in OWN_TRAINER_KEYS}
