"""A closer look at one gradient, for those who ask: moments, extremes, histogram. torch only."""

from __future__ import annotations

import torch
from torch import Tensor

from model.health.stats import dense_values

BINS = 20


def layer_details(gradient: Tensor, bins: int = BINS) -> dict[str, float | list[float]]:
    """mean, std (0 for a single element), min, max of the elements (of complex ones: of the absolute values), and their
    histogram.

    histogram: `bins` counts of elements in equal intervals from `histogram_min` to `histogram_max`, NaN and Inf left
    out.
    """
    values = dense_values(gradient).flatten()
    values = (values.abs() if values.is_complex() else values).double()
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
    return {
        "mean": float(values.mean()),
        "std": float(values.std(correction=1 if values.numel() > 1 else 0)),
        "min": float(values.min()),
        "max": float(values.max()),
        "histogram": torch.histc(finite, bins, low, high).tolist() if finite.numel() else [0.0] * bins,
        "histogram_min": low,
        "histogram_max": high,
    }
