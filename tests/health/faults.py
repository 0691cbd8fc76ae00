"""Faults to train with: losses and gradients that are not finite, and a run that has them in some of its batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor

from model.health import HealthSettings
from model.health.callback import GradientHealthCallback
from tests.health.modules import Small, loader, trainer
from tests.health.snapshots import ChangeRecorder

Fault = Callable[[Tensor], Tensor]
PRECISIONS = ["32-true", "bf16-mixed", "16-mixed"]


def nan_loss(loss: Tensor) -> Tensor:
    """Returns NaN; the gradient is NaN too."""
    return loss * math.nan


def inf_loss(loss: Tensor) -> Tensor:
    """Returns Inf; the gradient is Inf too."""
    return loss * math.inf


def inf_loss_alone(loss: Tensor) -> Tensor:
    """Returns Inf; the gradient is finite."""
    return loss + math.inf


def nan_gradient_alone(loss: Tensor) -> Tensor:
    """Returns a finite loss with a NaN gradient, as sqrt has at 0."""
    return loss + (loss * 0).sqrt()


FAULTS: dict[str, Fault] = {
    "nan": nan_loss,
    "inf": inf_loss,
    "inf_loss_alone": inf_loss_alone,
    "nan_gradient_alone": nan_gradient_alone,
}


def in_batches(batches: set[int], fault: Fault) -> Callable[[int, Tensor], Tensor]:
    """Returns a fault that occurs in these batches only."""
    return lambda index, loss: fault(loss) if index in batches else loss


def fit(
    settings: HealthSettings,
    batches: set[int],
    fault: Fault = nan_loss,
    optimizer: str = "adamw",
    run_dir: Path | None = None,
    **options: Any,
) -> tuple[Small, GradientHealthCallback, ChangeRecorder]:
    """Trains for one epoch of 16 batches with the fault in some of them."""
    module, recorder = Small(optimizer, in_batches(batches, fault)), ChangeRecorder()
    callback = GradientHealthCallback(settings, run_dir)
    trainer([recorder, callback], **options).fit(module, loader())
    return module, callback, recorder


def half_precision(**options: Any) -> dict[str, Any]:
    """Returns the Trainer's options for 16-mixed on the CPU, which Lightning would replace by bf16-mixed."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=64.0, **options))]}


def in_precision(precision: str) -> dict[str, Any]:
    """Returns the Trainer's options for a precision."""
    return half_precision() if precision == "16-mixed" else {"precision": precision}
