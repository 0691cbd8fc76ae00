"""Which figure of a validation decides what is best: for best.ckpt, for early stopping, and for sweeps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.config.schema import RunConfig, TrainerConfig
from model.errors import ConfigError, one_of
from model.metric_names import KS
from model.record.summary import OBJECTIVE

# The recall figures of an evaluation.
RECALLS = ("recall", "joint_recall", "joint_recall_all", "text_to_image_recall", "image_to_text_recall")
SWAP_ACCURACY = "val/swap_acc"
# What a sweep can maximise.
OBJECTIVES = (*(f"val/{name}@{k}" for name in RECALLS for k in KS), SWAP_ACCURACY)
# The figures of a validation for which lower is better.
LOWER_IS_BETTER = ("val/loss",)
AUTO = "auto"
MODES = (AUTO, "max", "min")
# Families of losses whose scores are high for a whole tuple while its pairs may be unrelated: they do not train the
# recall of image and caption 1. A function of the user (own) may be one of them.
OF_TUPLES = ("product", "sampled", "volume", "own")


@dataclass(frozen=True)
class Best:
    """The figure that decides which weights are best."""

    metric: str
    """`val/<figure>`."""
    mode: str
    """`max` if higher is better, `min` if lower is better."""

    def improves(self, value: float, before: float | None) -> bool:
        """Whether `value` is better than `before`, the best so far (None: there is none). NaN is never better."""
        if math.isnan(value):
            return False
        return before is None or (value > before if self.mode == "max" else value < before)


def best_metric(best: str, objective: str, family: str | None) -> str:
    """Returns the figure that a value of trainer.best means: `auto` is the objective, except that val/swap_acc replaces
    val/recall@1 where the loss does not train that recall. family: loss.family.
    """
    if best != AUTO:
        return best
    return SWAP_ACCURACY if objective == OBJECTIVE and family in OF_TUPLES else objective


def natural_mode(metric: str) -> str:
    """Returns whether higher (`max`) or lower (`min`) values of a figure are better."""
    return "min" if metric in LOWER_IS_BETTER else "max"


def best_of(config: RunConfig, kept: str | None = None) -> Best:
    """Returns what best means in a run. kept: the figure that has chosen the best.ckpt of the run that this run
    continues, which trainer.best=auto keeps; None if there is none.
    """
    chosen = best_metric(config.trainer.best, config.objective, config.loss.family)
    metric = kept if kept is not None and config.trainer.best == AUTO else chosen
    return Best(metric, natural_mode(metric))


def check_best(trainer: TrainerConfig, objective: str) -> None:
    """Raises ConfigError for unknown figures, for a mode that contradicts the figure, and for early stopping without
    validations.
    """
    one_of("objective", objective, OBJECTIVES)
    one_of("trainer.best", trainer.best, (AUTO, *OBJECTIVES, *LOWER_IS_BETTER))
    one_of("trainer.best_mode", trainer.best_mode, MODES)
    metric = objective if trainer.best == AUTO else trainer.best
    natural = natural_mode(metric)
    if trainer.best_mode not in (AUTO, natural):
        problem = f"would choose the worst weights by trainer.best={trainer.best}"
        raise ConfigError(f"trainer.best_mode={trainer.best_mode} {problem}; allowed: auto, {natural}")
    if trainer.early_stopping_patience is not None and trainer.limit_val_batches == 0:
        problem = "counts validations, and trainer.limit_val_batches=0 makes none"
        raise ConfigError(
            f"trainer.early_stopping_patience={trainer.early_stopping_patience} {problem}; "
            "allowed: null, or limit_val_batches above 0"
        )
