"""Builds the rows that a step adds to metrics.csv and to health.jsonl. No Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from model.health.examine import GradientReport
from model.health.limits import HealthSettings
from model.health.policy import Action, Counts

# Suffix of a metric -> figure of `ActivationMonitor.get_statistics`.
ACTIVATION_FIGURES = {"near_zero": "sparsity", "dead_units": "dead", "saturated": "saturated"}


def gradient_metrics(report: GradientReport, action: Action, counts: Counts) -> dict[str, float]:
    """Returns grad/*: Euclidean norms of the unscaled, accumulated gradient before clipping, the action for this step,
    and shares of all steps so far.
    """
    return {
        "grad/global_norm": report.global_norm,
        "grad/max_norm": report.max_norm,
        "grad/min_norm": report.min_norm,
        "grad/mean_norm": report.mean_norm,
        "grad/has_nan": float(bool(report.nan)),
        "grad/has_inf": float(bool(report.inf)),
        "grad/clipped": float(action is Action.CLIP),
        "grad/skipped": float(action in (Action.SKIP, Action.HALT)),
        "grad/clip_share": counts.clipped / max(1, counts.attempted),
        "grad/scaler_skips": float(counts.scaler_skips),
    }


def logit_scale_metric(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns grad/logit_scale, a copy with its sign, where there is a gradient of that name; otherwise nothing."""
    gradient = gradients.get("logit_scale")
    return {} if gradient is None else {"grad/logit_scale": gradient.detach().clone().reshape(())}


def norm_metrics(prefix: str, norms: Mapping[str, Any]) -> dict[str, Any]:
    """Returns <prefix>/<group>/norm for each group."""
    return {f"{prefix}/{group}/norm": norm for group, norm in norms.items()}


def activation_metrics(statistics: Mapping[str, Mapping[str, Any]], per_layer: bool) -> dict[str, float]:
    """Returns activation/*, the means of the layers' shares; with `per_layer` also activation_layer/* for each module
    path.
    """
    if not statistics:
        return {}
    metrics = {
        f"activation/{suffix}": sum(stats[figure] for stats in statistics.values()) / len(statistics)
        for suffix, figure in ACTIVATION_FIGURES.items()
    }
    for name, stats in statistics.items() if per_layer else ():
        path = name.replace(".", "/")
        metrics |= {f"activation_layer/{path}/{suffix}": stats[figure] for suffix, figure in ACTIVATION_FIGURES.items()}
    return metrics


def history_row(
    step: int,
    report: GradientReport,
    layers: Mapping[str, float],
    action: Action,
    counts: Counts,
    settings: HealthSettings,
    statistics: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns one line of health.jsonl.

    step: the number of attempted optimizer steps, this one included. clipped, skipped, scaler_skips: the numbers of
    such steps so far. clip: the norm above which gradients are clipped. vanishing, exploding: the limits in force.
    layers: gradient norm by module path. near_zero: share of near-zero activations by module path, where they are
    measured.
    """
    shares = (
        {"near_zero": {name.replace(".", "/"): stats["sparsity"] for name, stats in statistics.items()}}
        if statistics
        else {}
    )
    return {
        "step": step,
        "norm": report.global_norm,
        "action": action.value,
        "clipped": counts.clipped,
        "skipped": counts.skipped,
        "scaler_skips": counts.scaler_skips,
        "clip": settings.clip_threshold,
        "vanishing": settings.vanishing,
        "exploding": settings.exploding,
        "layers": dict(layers),
        **shares,
    }
