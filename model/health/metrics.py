"""The rows that a step leaves behind: metric names and the history of the pictures. No Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.health.examine import GradientReport
from model.health.groups import group_norms
from model.health.policy import Action, Counts


def gradient_metrics(report: GradientReport, action: Action, counts: Counts) -> dict[str, float]:
    """grad/*: norms before clipping (Euclidean, of the unscaled, accumulated gradient), what was done to this step, and shares so far."""
    return {
        "grad/global_norm": report.global_norm,
        "grad/max_norm": report.max_norm,
        "grad/min_norm": report.min_norm,
        "grad/mean_norm": report.mean_norm,
        "grad/has_nan": float(bool(report.nan)),
        "grad/has_inf": float(bool(report.inf)),
        "grad/clipped": float(action is Action.CLIP),
        "grad/skipped": float(action in (Action.SKIP, Action.HALT)),
        "grad/clip_share": counts.clipped / counts.attempted,
        "grad/scaler_skips": float(counts.scaler_skips),
    }


def norm_metrics(prefix: str, groups: Mapping[str, list[str]], report: GradientReport) -> dict[str, float]:
    """<prefix>/<group>/norm of every group that has gradients."""
    return {f"{prefix}/{group}/norm": norm for group, norm in group_norms(groups, report.norms).items()}


def history_row(step: int, report: GradientReport, layers: Mapping[str, list[str]], action: Action, counts: Counts) -> dict[str, Any]:
    """One line of health.jsonl. step: optimizer steps attempted, this one included; the counts are those so far."""
    return {
        "step": step,
        "norm": report.global_norm,
        "action": action.value,
        "clipped": counts.clipped,
        "skipped": counts.skipped,
        "scaler_skips": counts.scaler_skips,
        "layers": group_norms(layers, report.norms),
    }
