"""Checks the ranges of the configuration's values and their combinations. Every function raises ConfigError or returns
None, and reads no file.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

from model.config.own_function import check_function
from model.config.schema import (
    AdamWConfig,
    AnalysisConfig,
    BackboneConfig,
    CosineConfig,
    DataConfig,
    DecodedModelConfig,
    EmojiConfig,
    LossConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
    PlateauConfig,
    RunConfig,
    ScheduleConfig,
    TrainerConfig,
    TranslatedModelConfig,
)
from model.config.trainer_checks import check_trainer
from model.errors import ConfigError, at_least, fraction, one_of, positive, require, within
from model.loss_options import LossOptions, check_options, check_scale_init
from model.metric_names import KS
from model.views.recipes import plan_views

PROJECTIONS = ("identity", "none", "inv", "iinv")
SELECTIONS = {"eot_select": ("argmax", "gumbel"), "token_select": ("softmax", "gumbel")}
NORMS, INITS = ("pre", "post"), ("fan_in", "marian")
SPLITS = ("train", "val", "test")
# The recall figures of an evaluation.
RECALLS = ("recall", "joint_recall", "joint_recall_all", "text_to_image_recall", "image_to_text_recall")
OBJECTIVES = (*(f"val/{name}@{k}" for name in RECALLS for k in KS), "val/swap_acc")
# The largest number of float32. A larger rate or decay is infinite in the arithmetic of the weights.
FLOAT32_MAX = 3.4028234e38
# Upper bounds that no run needs. A larger value is a typing mistake that would fill the memory or start far too many
# processes.
LARGEST = {
    "num_workers": 512,
    "batch_size": 1 << 20,
    "train_size": 10**9,
    "val_size": 10**9,
    "test_size": 10**9,
    "vocab_size": 1 << 20,
}
LARGEST_SIZE = {
    "image_size": 1 << 14,
    "context_length": 1 << 14,
    "vision_width": 1 << 15,
    "text_width": 1 << 15,
    "translator_ffn": 1 << 17,
}
LARGEST_LAYERS, MOST_CAPTIONS = 1000, {"shards": 1 << 20}
SEEDS = (0, 2**32 - 1)


def check_run(config: RunConfig) -> None:
    """Raises ConfigError for the first value of `config` that is out of range or contradicts another."""
    check_finite(asdict(config))
    within("seed", config.seed, *SEEDS)
    for split in config.evaluate:
        one_of("evaluate", split, SPLITS)
    no_duplicates = len(set(config.evaluate)) == len(config.evaluate)
    require(
        no_duplicates,
        "evaluate",
        f"[{','.join(config.evaluate)}]",
        "names a split twice",
        f"each of {', '.join(SPLITS)} once",
    )
    one_of("objective", config.objective, OBJECTIVES)
    check_data(config.data)
    check_model(config.model, config.data)
    check_backbone(config.backbone)
    check_optimizer(config.optimizer)
    check_schedule(config.schedule)
    check_trainer(config.trainer, config.train)
    check_analysis(config.analysis)
    check_source_of_weights(config.train, config.ckpt_path)
    check_loss(config)
    check_monitor(config.monitor, config.trainer)


def check_finite(values: dict[str, Any], prefix: str = "") -> None:
    """Raises ConfigError for the first infinite number, NaN or empty text, also within lists."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            check_finite(value, f"{key}.")
            continue
        for item in value if isinstance(value, list) else [value]:
            require(not isinstance(item, float) or math.isfinite(item), key, item, "is not finite", "a finite number")
            require(item != "", key, "", "is empty", "a text that is not empty, or null if that is the default")


def check_loss(config: RunConfig) -> None:
    """Raises ConfigError for options of the loss that are unknown, out of range, or without effect on the loss."""
    loss, views = config.loss, view_count(config.model)
    check_function(loss.name, loss.function)
    cap = loss.scale_cap
    require(cap is None or cap > 0, "loss.scale_cap", cap, "is not positive", "null or a number above 0")
    check_scale_init(loss.scale_init, loss.mask)
    options = loss_options(loss)
    check_options(loss.name, str(loss.family), options, views=views, batch_size=config.data.batch_size)


def loss_options(loss: LossConfig) -> LossOptions:
    """Returns the keys of conf/loss that every loss reads."""
    return LossOptions(**{field.name: getattr(loss, field.name) for field in fields(LossOptions)})


def view_count(model: ModelConfig) -> int:
    """Returns the number of views that a sample has."""
    return len(plan_views(model.name, model.captions).names)


def check_monitor(monitor: MonitorConfig, trainer: TrainerConfig) -> None:
    """Raises ConfigError for invalid settings of the monitor, and for other settings with which it cannot work."""
    from model.health.limits import HealthSettings, refuse_strategy, refuse_two_clippings

    HealthSettings(**{field.name: getattr(monitor, field.name) for field in fields(HealthSettings)})
    if monitor.enabled:
        refuse_strategy(trainer.strategy)
        refuse_two_clippings(monitor.clip, trainer.gradient_clip_val)


def check_model(model: ModelConfig, data: DataConfig) -> None:
    """Raises ConfigError for a number of captions that the data do not have, and for an unknown projection or
    selection.
    """
    at_least("model.captions", model.captions, 1)
    require(
        model.captions <= data.captions,
        "model.captions",
        model.captions,
        f"is more than the captions of data={data.name}",
        f"1 to {data.captions}",
    )
    one_of("model.projection", model.projection, PROJECTIONS)
    if isinstance(model, DecodedModelConfig):
        one_of("model.eot_select", model.eot_select, SELECTIONS["eot_select"])
    if isinstance(model, TranslatedModelConfig):
        one_of("model.token_select", model.token_select, SELECTIONS["token_select"])


def check_backbone(backbone: BackboneConfig) -> None:
    """Raises ConfigError for a size out of range, and for a size that its divisor (such as the number of heads) does
    not divide.
    """
    for key in ("vision_layers", "text_layers", "translator_layers"):
        within(f"backbone.{key}", getattr(backbone, key), 1, LARGEST_LAYERS)
    for key, largest in LARGEST_SIZE.items():
        within(f"backbone.{key}", getattr(backbone, key), 4 if key == "context_length" else 1, largest)
    at_least("backbone.patch_size", backbone.patch_size, 1)
    fraction("backbone.translator_dropout", backbone.translator_dropout)
    one_of("backbone.translator_norm", backbone.translator_norm, NORMS)
    one_of("backbone.translator_init", backbone.translator_init, INITS)
    check_rate("backbone.lr", backbone.lr)
    divisors = (
        ("image_size", "patch_size"),
        ("vision_width", "vision_heads"),
        ("text_width", "text_heads"),
        ("text_width", "translator_heads"),
    )
    for key, divisor_key in divisors:
        value, divisor = getattr(backbone, key), getattr(backbone, divisor_key)
        at_least(f"backbone.{divisor_key}", divisor, 1)
        require(
            value > 0 and value % divisor == 0,
            f"backbone.{key}",
            value,
            "is not a multiple",
            f"multiples of backbone.{divisor_key}={divisor}",
        )


def check_data(data: DataConfig) -> None:
    """Raises ConfigError for sizes out of range, and for more captions than the source has. A contrast needs at least
    two samples.
    """
    available = len(data.languages) if isinstance(data, EmojiConfig) else MOST_CAPTIONS.get(data.name, 5)
    problem = f"is not a number of captions of data={data.name}"
    require(1 <= data.captions <= available, "data.captions", data.captions, problem, f"1 to {available}")
    for key, least in (("batch_size", 2), ("num_workers", 0), ("val_size", 2), ("test_size", 2), ("vocab_size", 300)):
        within(f"data.{key}", getattr(data, key), least, LARGEST[key])
    if data.train_size is not None:
        within("data.train_size", data.train_size, 2, LARGEST["train_size"])
        require(
            data.train_size >= data.batch_size,
            "data.train_size",
            data.train_size,
            "is smaller than a batch",
            f"data.batch_size={data.batch_size} or more",
        )


def check_optimizer(optimizer: OptimizerConfig) -> None:
    """Raises ConfigError for a rate, a decay, betas or eps out of range."""
    check_rate("optimizer.lr", optimizer.lr)
    within("optimizer.weight_decay", optimizer.weight_decay, 0, FLOAT32_MAX)
    require(len(optimizer.betas) == 2, "optimizer.betas", optimizer.betas, "does not have two values", "two numbers")
    for beta in optimizer.betas:
        fraction("optimizer.betas", beta)
    if isinstance(optimizer, AdamWConfig):
        positive("optimizer.eps", optimizer.eps)


def check_rate(key: str, value: float) -> None:
    """Raises ConfigError for a learning rate that is not positive or that float32 cannot represent."""
    positive(key, value)
    require(value <= FLOAT32_MAX, key, value, "is too large", f"a number above 0, up to {FLOAT32_MAX:g}")


def check_schedule(schedule: ScheduleConfig) -> None:
    """Raises ConfigError for a share outside [0, 1), a factor outside (0, 1) or a negative patience."""
    fraction("schedule.warmup", schedule.warmup)
    if isinstance(schedule, CosineConfig):
        fraction("schedule.final", schedule.final)
    if isinstance(schedule, PlateauConfig):
        positive("schedule.factor", schedule.factor)
        fraction("schedule.factor", schedule.factor)
        at_least("schedule.patience", schedule.patience, 0)


def check_analysis(analysis: AnalysisConfig) -> None:
    """Raises ConfigError for fewer samples than the estimates need."""
    for key, least in (("samples", 2), ("cka_samples", 4), ("probe_samples", 2)):
        value = getattr(analysis, key)
        if value is not None:
            at_least(f"analysis.{key}", value, least)
    at_least("analysis.examples", analysis.examples, 0)
    at_least("analysis.resamples", analysis.resamples, 1)


def check_source_of_weights(trains: bool, ckpt_path: str | None) -> None:
    """Raises ConfigError for an evaluation without a checkpoint."""
    if not trains and ckpt_path is None:
        raise ConfigError(
            "ckpt_path=null does not name a checkpoint to evaluate with train=false; allowed: a file, last or best"
        )
