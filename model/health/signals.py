"""Everything that may be worth a word after a step, gathered into recommendations. No Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from model.health.advice import Recommendation, gradient_advice, recommend
from model.health.examine import GradientReport
from model.health.limits import HealthSettings

# Share of saturated outputs, or of dead units, that is worth a word.
WORTH_A_WORD = 0.5
# A scale this close to its cap is at it.
AT_CAP = 0.999


def step_advice(
    module: nn.Module, report: GradientReport, layers: Mapping[str, float], settings: HealthSettings
) -> list[Recommendation]:
    """Advice on the gradients of a step, and on the logit scale. layers: gradient norm by module path."""
    without = [
        name for name, p in module.named_parameters() if p.requires_grad and name not in report.norms and p.numel()
    ]
    found = gradient_advice(report, layers, without, settings.vanishing, settings.exploding)
    if not report.finite and settings.on_nonfinite == "warn":
        found.append(recommend("unprotected"))
    return found + scale_advice(module)


def scale_advice(module: nn.Module) -> list[Recommendation]:
    """Advice where the module's `logit_scale` (a logarithm) has reached its `scale_cap`; none where it has no such
    pair, or where the cap is meant to be reached (`chosen_cap`). Synchronises.
    """
    scale, cap = getattr(module, "logit_scale", None), getattr(module, "scale_cap", None)
    if (
        scale is None
        or cap is None
        or getattr(module, "chosen_cap", None) is not None
        or not bool(torch.exp(scale.detach()) >= AT_CAP * cap)
    ):
        return []
    return [recommend("scale_cap", cap=float(cap))]


def activation_advice(statistics: Mapping[str, Mapping[str, Any]]) -> list[Recommendation]:
    """Advice on the worst layer of each kind. statistics: as `ActivationMonitor.get_statistics` gives them."""
    found = []
    for kind, figure in (("saturated", "saturated"), ("dead_units", "dead")):
        layer, share = max(
            ((name, stats[figure]) for name, stats in statistics.items()), key=lambda pair: pair[1], default=("", 0.0)
        )
        if share > WORTH_A_WORD:
            found.append(recommend(kind, layer=layer, share=share))
    return found
