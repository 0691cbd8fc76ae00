"""The typed groups of ``conf/``: one dataclass a group, or a choice where choices differ in their keys.

Every key is documented in its YAML, which also holds its default (``conf/<group>/_keys.yaml`` or the choice itself);
types live here, ranges in `checks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class LossConfig:
    """conf/loss: which loss, and how it is evaluated."""

    name: str = MISSING
    family: str | None = MISSING
    function: str | None = MISSING
    function_digest: str | None = MISSING
    normalize: bool = MISSING
    eps: float = MISSING
    targets: str = MISSING
    mask: str = MISSING
    axes: str = MISSING
    reduction: str = MISSING
    evaluation: str = MISSING
    scale_init: str = MISSING
    scale_cap: float | None = MISSING
    memory_mib: int = MISSING


@dataclass
class MonitorConfig:
    """conf/monitor: what is measured of the gradients and what is done about it."""

    name: str = MISSING
    enabled: bool = MISSING
    clip: float | None = MISSING
    clip_above: float | None = MISSING
    every_n_steps: int = MISSING
    vanishing: float = MISSING
    exploding: float = MISSING
    on_nonfinite: str = MISSING
    max_skips: int = MISSING
    per_layer: bool = MISSING
    activations: bool = MISSING
    noise_std: float = MISSING
    noise_gamma: float = MISSING


@dataclass
class ModelConfig:
    """conf/model: which views a sample has (see docs/quickstart.md)."""

    name: str = MISSING
    captions: int = MISSING
    projection: str = MISSING


@dataclass
class DecodedModelConfig(ModelConfig):
    """model=v534dim: image, caption 1, decoded and encoded captions."""

    eot_select: str = MISSING


@dataclass
class TranslatedModelConfig(ModelConfig):
    """model=v5335dim: image, caption 1, translated captions."""

    token_select: str = MISSING


@dataclass
class BackboneConfig:
    """conf/backbone: sizes of the two CLIP towers and of the encoder-decoder."""

    name: str = MISSING
    pretrained: str | None = MISSING
    image_size: int = MISSING
    patch_size: int = MISSING
    context_length: int = MISSING
    vision_width: int = MISSING
    vision_layers: int = MISSING
    vision_heads: int = MISSING
    text_width: int = MISSING
    text_layers: int = MISSING
    text_heads: int = MISSING
    activation: str = MISSING
    translator_layers: int = MISSING
    translator_heads: int = MISSING
    translator_ffn: int = MISSING
    translator_activation: str = MISSING
    translator_dropout: float = MISSING
    translator_norm: str = MISSING
    translator_init: str = MISSING
    lr: float = MISSING


@dataclass
class DataConfig:
    """conf/data: where pictures and captions come from."""

    name: str = MISSING
    batch_size: int = MISSING
    num_workers: int = MISSING
    train_size: int | None = MISSING
    val_size: int = MISSING
    test_size: int = MISSING
    captions: int = MISSING
    tokenizer: str | None = MISSING
    vocab_size: int = MISSING


@dataclass
class EmojiConfig(DataConfig):
    """data=emoji."""

    root: str | None = MISSING
    languages: list[str] = MISSING
    augment: bool = MISSING


@dataclass
class CocoConfig(DataConfig):
    """data=coco."""

    root: str | None = MISSING
    year: str = MISSING
    allow_outside: bool = MISSING


@dataclass
class OptimizerConfig:
    """conf/optimizer: keys shared by both optimizers."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    betas: list[float] = MISSING


@dataclass
class AdamWConfig(OptimizerConfig):
    """optimizer=adamw."""

    eps: float = MISSING


@dataclass
class ScheduleConfig:
    """conf/schedule: keys shared by all schedules."""

    name: str = MISSING
    warmup: float = MISSING


@dataclass
class CosineConfig(ScheduleConfig):
    """schedule=cosine."""

    final: float = MISSING


@dataclass
class PlateauConfig(ScheduleConfig):
    """schedule=plateau."""

    factor: float = MISSING
    patience: int = MISSING


@dataclass
class TrainerConfig:
    """conf/trainer: Lightning's own Trainer arguments, and three of this project's."""

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
    matmul_precision: str | None = MISSING


@dataclass
class LoggerConfig:
    """conf/logger: where else than metrics.csv the metrics go."""

    name: str = MISSING


@dataclass
class WandbConfig(LoggerConfig):
    """logger=wandb."""

    project: str = MISSING
    offline: bool = MISSING


@dataclass
class AnalysisConfig:
    """conf/analysis: what is measured at validations and at the end of a run."""

    name: str = MISSING
    retrieval: bool = MISSING
    zero_shot: bool = MISSING
    probes: bool = MISSING
    geometry: bool = MISSING
    drift: bool = MISSING
    tokens: bool = MISSING
    cka: bool = MISSING
    samples: int | None = MISSING
    cka_reference: str | None = MISSING
    cka_samples: int | None = MISSING
    probe_samples: int | None = MISSING
    examples: int = MISSING
    resamples: int = MISSING


@dataclass
class RunConfig:
    """Everything one run needs; what `model.run.run` takes."""

    loss: LossConfig = MISSING
    monitor: MonitorConfig = MISSING
    model: ModelConfig = MISSING
    backbone: BackboneConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    schedule: ScheduleConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = MISSING
    analysis: AnalysisConfig = MISSING
    seed: int = MISSING
    train: bool = MISSING
    ckpt_path: str | None = MISSING
    evaluate: list[str] = MISSING
    report: bool = MISSING
    objective: str = MISSING


# Group -> the nodes that conf/<group>/*.yaml build on, by the name in their defaults list.
SCHEMAS: dict[str, dict[str, type]] = {
    "loss": {"_schema": LossConfig},
    "monitor": {"_schema": MonitorConfig},
    "model": {
        "_schema": ModelConfig,
        "_schema_decoded": DecodedModelConfig,
        "_schema_translated": TranslatedModelConfig,
    },
    "backbone": {"_schema": BackboneConfig},
    "data": {"_schema": DataConfig, "_schema_emoji": EmojiConfig, "_schema_coco": CocoConfig},
    "optimizer": {"_schema": OptimizerConfig, "_schema_adamw": AdamWConfig},
    "schedule": {"_schema": ScheduleConfig, "_schema_cosine": CosineConfig, "_schema_plateau": PlateauConfig},
    "trainer": {"_schema": TrainerConfig},
    "logger": {"_schema": LoggerConfig, "_schema_wandb": WandbConfig},
    "analysis": {"_schema": AnalysisConfig},
}
