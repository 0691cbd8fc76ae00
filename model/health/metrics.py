"""The rows that a step leaves behind: metric names and the history of the pictures. No Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.health.examine import GradientReport
from model.health.limits import HealthSettings
from model.health.policy import Action, Counts


def gradient_metrics(report: GradientReport, action: Action, counts: Counts) -> dict[str, float]:
    """grad/*: norms before clipping (Euclidean, of the unscaled, accumulated gradient), what was done to this step, and
    shares so far.
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


def norm_metrics(prefix: str, norms: Mapping[str, Any]) -> dict[str, Any]:
    """<prefix>/<group>/norm of every group."""
    return {f"{prefix}/{group}/norm": norm for group, norm in norms.items()}


def activation_metrics(statistics: Mapping[str, Mapping[str, Any]], per_layer: bool) -> dict[str, float]:
    """activation/near_zero, dead_units, saturated: means of the layers' shares; with `per_layer` also of each module
    path.
    """
    if not statistics:
        return {}
    kinds = {"near_zero": "sparsity", "dead_units": "dead", "saturated": "saturated"}
    means = {
        f"activation/{kind}": sum(stats[key] for stats in statistics.values()) / len(statistics)
        for kind, key in kinds.items()
    }
    if per_layer:
        for name, stats in statistics.items():
            means |= {f"activation_layer/{name.replace('.', '/')}/{kind}": stats[key] for kind, key in kinds.items()}
    return means


def history_row(
    step: int,
    report: GradientReport,
    layers: Mapping[str, float],
    action: Action,
    counts: Counts,
    settings: HealthSettings,
    statistics: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """One line of health.jsonl.

    step: optimizer steps attempted, this one included; clipped, skipped, scaler_skips: those so far; clip (the norm
    above which is clipped), vanishing, exploding: the bounds in force; layers: gradient norm by module path; near_zero:
    share of near-zero activations by module path, where they are measured.
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
        "clip": settings.above,
        "vanishing": settings.vanishing,
        "exploding": settings.exploding,
        "layers": dict(layers),
        **shares,
    }
