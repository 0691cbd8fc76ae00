"""The types of the configuration: one dataclass for each group of ``conf/``, and further ones for choices with keys of
their own.

A YAML file documents each key and holds its default (``conf/<group>/_keys.yaml`` or the file of the choice). The ranges
of the values are in `checks`. The larger groups are in `schema_model` and `schema_training`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from model.config.schema_model import BackboneConfig, DecodedModelConfig, ModelConfig, TranslatedModelConfig
from model.config.schema_training import (
    AdamWConfig,
    CosineConfig,
    OptimizerConfig,
    PlateauConfig,
    ScheduleConfig,
    TrainerConfig,
)
from model.config.schema_transforms import TransformsConfig

__all__ = [
    "SCHEMAS",
    "AdamWConfig",
    "AnalysisConfig",
    "BackboneConfig",
    "CocoConfig",
    "CosineConfig",
    "DataConfig",
    "DecodedModelConfig",
    "EmojiConfig",
    "LanguagesConfig",
    "LoggerConfig",
    "LossConfig",
    "ModelConfig",
    "MonitorConfig",
    "OptimizerConfig",
    "PlateauConfig",
    "RunConfig",
    "ScheduleConfig",
    "TableConfig",
    "StampsConfig",
    "ShardsConfig",
    "TrainerConfig",
    "TransformsConfig",
    "TranslatedModelConfig",
    "WandbConfig",
]


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
    backend: str = MISSING
    memory_mib: int | None = MISSING


@dataclass
class MonitorConfig:
    """conf/monitor: which figures of the gradients are measured, and what the run does about bad ones."""

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
class DataConfig:
    """conf/data: the source of pictures and captions."""

    name: str = MISSING
    batch_size: int = MISSING
    num_workers: int = MISSING
    train_size: int | None = MISSING
    val_size: int = MISSING
    test_size: int = MISSING
    captions: int = MISSING
    caption_order: str = MISSING
    tokenizer: str | None = MISSING
    vocab_size: int = MISSING
    transforms: TransformsConfig = MISSING


@dataclass
class LanguagesConfig(DataConfig):
    """Keys of the sources that have a caption in each of several languages."""

    root: str | None = MISSING
    languages: list[str] = MISSING


@dataclass
class EmojiConfig(LanguagesConfig):
    """data=emoji."""


@dataclass
class StampsConfig(LanguagesConfig):
    """data=stamps."""


@dataclass
class CocoConfig(DataConfig):
    """data=coco: keys of this source only."""

    root: str | None = MISSING
    year: str = MISSING
    allow_outside: bool = MISSING


@dataclass
class TableConfig(DataConfig):
    """data=table: keys of this source only."""

    root: str | None = MISSING
    images: str | None = MISSING
    image_column: str = MISSING
    caption_columns: list[str] = MISSING
    split_column: str | None = MISSING
    label_column: str | None = MISSING
    language_column: str | None = MISSING
    id_column: str | None = MISSING
    few_captions: str = MISSING


@dataclass
class ShardsConfig(DataConfig):
    """data=shards: keys of this source only. root, val and test are a text or a list of texts."""

    root: Any = MISSING
    val: Any = MISSING
    test: Any = MISSING
    few_captions: str = MISSING
    caption_keys: list[str] = MISSING
    txt_lines: bool = MISSING


@dataclass
class LoggerConfig:
    """conf/logger: the logger that gets the metrics in addition to metrics.csv."""

    name: str = MISSING


@dataclass
class WandbConfig(LoggerConfig):
    """logger=wandb: keys of this logger only."""

    project: str = MISSING
    offline: bool = MISSING


@dataclass
class AnalysisConfig:
    """conf/analysis: which figures are measured at validations and at the end of a run."""

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
    """The complete configuration of a run, the argument of `model.run.run`."""

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
    init_from: str | None = MISSING
    evaluate: list[str] = MISSING
    report: bool = MISSING
    objective: str = MISSING


# Group, or group/group for a group within another one -> the name in the defaults lists of conf/<group>/*.yaml -> the
# dataclass.
SCHEMAS: dict[str, dict[str, type]] = {
    "loss": {"_schema": LossConfig},
    "monitor": {"_schema": MonitorConfig},
    "model": {
        "_schema": ModelConfig,
        "_schema_decoded": DecodedModelConfig,
        "_schema_translated": TranslatedModelConfig,
    },
    "backbone": {"_schema": BackboneConfig},
    "data": {
        "_schema": DataConfig,
        "_schema_emoji": EmojiConfig,
        "_schema_coco": CocoConfig,
        "_schema_table": TableConfig,
        "_schema_stamps": StampsConfig,
        "_schema_shards": ShardsConfig,
    },
    "data/transforms": {"_schema": TransformsConfig},
    "optimizer": {"_schema": OptimizerConfig, "_schema_adamw": AdamWConfig},
    "schedule": {"_schema": ScheduleConfig, "_schema_cosine": CosineConfig, "_schema_plateau": PlateauConfig},
    "trainer": {"_schema": TrainerConfig},
    "logger": {"_schema": LoggerConfig, "_schema_wandb": WandbConfig},
    "analysis": {"_schema": AnalysisConfig},
}
