"""The typed groups of conf/ that describe the training: `optimizer`, `schedule` and `trainer`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class OptimizerConfig:
    """conf/optimizer: the keys that both optimizers have."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    betas: list[float] = MISSING
    lr_scale: dict[str, float] = field(default_factory=dict)


@dataclass
class AdamWConfig(OptimizerConfig):
    """optimizer=adamw: keys of this optimizer only."""

    eps: float = MISSING


@dataclass
class ScheduleConfig:
    """conf/schedule: the keys that all schedules have."""

    name: str = MISSING
    warmup: float = MISSING


@dataclass
class CosineConfig(ScheduleConfig):
    """schedule=cosine: keys of this schedule only."""

    final: float = MISSING


@dataclass
class PlateauConfig(ScheduleConfig):
    """schedule=plateau: keys of this schedule only."""

    factor: float = MISSING
    patience: int = MISSING


@dataclass
class TrainerConfig:
    """conf/trainer: arguments of Lightning's Trainer, and five keys of this project."""

    name: str = MISSING
    accelerator: str = MISSING
    strategy: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    precision: str = MISSING
    max_epochs: int | None = MISSING
    min_epochs: int | None = MISSING
    max_steps: int = MISSING
    min_steps: int | None = MISSING
    max_time: str | None = MISSING
    limit_train_batches: Any = MISSING
    limit_val_batches: Any = MISSING
    limit_test_batches: Any = MISSING
    fast_dev_run: Any = MISSING
    val_check_interval: Any = MISSING
    check_val_every_n_epoch: int | None = MISSING
    num_sanity_val_steps: int = MISSING
    log_every_n_steps: int = MISSING
    enable_checkpointing: bool = MISSING
    enable_progress_bar: bool = MISSING
    enable_model_summary: bool = MISSING
    accumulate_grad_batches: int = MISSING
    gradient_clip_val: float | None = MISSING
    gradient_clip_algorithm: str | None = MISSING
    deterministic: Any = MISSING
    benchmark: bool | None = MISSING
    detect_anomaly: bool = MISSING
    sync_batchnorm: bool = MISSING
    profiler: str | None = MISSING
    checkpoint_every_n_steps: int = MISSING
    early_stopping_patience: int | None = MISSING
    best: str = MISSING
    best_mode: str = MISSING
    matmul_precision: str | None = MISSING
