"""Turns the figures of one step into recommendations, and detects spikes of the loss. No Lightning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from model.health.advice import Recommendation, gradient_advice, recommend
from model.health.examine import GradientReport
from model.health.limits import HealthSettings

# Advice is given where a larger share than this of a layer's outputs is saturated, or of its units dead.
ADVICE_SHARE = 0.5
# The scale counts as being at its cap if it is at least this share of the cap.
AT_CAP = 0.999
# A spike needs this many losses before it, must exceed their running mean by this many mean absolute deviations, and
# must exceed this multiple of the running mean.
WARM_UP, DEVIATIONS, SHARE = 50, 6.0, 1.5
# The weight of the newest loss in the running mean and deviation.
NEWEST = 0.05


class SpikeDetector:
    """Keeps the exponentially weighted mean and mean absolute deviation of the losses of a run."""

    def __init__(self) -> None:
        self.count, self.mean, self.deviation = 0, 0.0, 0.0

    def add(self, loss: float) -> bool:
        """Returns whether `loss` is a spike after the earlier losses, and adds it to them. Ignores a loss that is not
        finite.
        """
        if not math.isfinite(loss):
            return False
        limit = max(self.mean + DEVIATIONS * self.deviation, SHARE * self.mean)
        spike = self.count >= WARM_UP and loss > limit
        weight = max(NEWEST, 1 / (self.count + 1))
        self.deviation += weight * (abs(loss - self.mean) - self.deviation) if self.count else 0.0
        self.mean += weight * (loss - self.mean)
        self.count += 1
        return spike

    def advice(self, loss: float) -> list[Recommendation]:
        """Adds `loss`, and returns advice where it is a spike."""
        mean = self.mean
        return [recommend("loss_spike", loss=loss, mean=mean)] if self.add(loss) else []


def step_advice(
    module: nn.Module, report: GradientReport, layers: Mapping[str, float], settings: HealthSettings
) -> list[Recommendation]:
    """Returns advice on the gradients of a step and on the logit scale. layers: gradient norm by module path."""
    without_gradient = [
        name for name, p in module.named_parameters() if p.requires_grad and name not in report.norms and p.numel()
    ]
    advice = gradient_advice(report, layers, without_gradient, settings.vanishing, settings.exploding)
    if not report.finite and settings.on_nonfinite == "warn":
        advice.append(recommend("unprotected"))
    return advice + scale_advice(module)


def scale_advice(module: nn.Module) -> list[Recommendation]:
    """Returns advice where the module's `logit_scale` (a logarithm) has reached its `scale_cap`. Synchronises.

    There is no advice for a module without these two attributes, nor where the user chose the cap (`chosen_cap`).
    """
    scale, cap = getattr(module, "logit_scale", None), getattr(module, "scale_cap", None)
    if scale is None or cap is None or getattr(module, "chosen_cap", None) is not None:
        return []
    at_cap = bool(torch.exp(scale.detach()) >= AT_CAP * cap)
    return [recommend("scale_cap", cap=float(cap))] if at_cap else []


def activation_advice(statistics: Mapping[str, Mapping[str, Any]]) -> list[Recommendation]:
    """Returns advice on the worst layer of each kind. statistics: as `ActivationMonitor.get_statistics` returns
    them.
    """
    advice = []
    for kind, figure in (("saturated", "saturated"), ("dead_units", "dead")):
        shares = ((name, stats[figure]) for name, stats in statistics.items())
        layer, share = max(shares, key=lambda pair: pair[1], default=("", 0.0))
        if share > ADVICE_SHARE:
            advice.append(recommend(kind, layer=layer, share=share))
    return advice
