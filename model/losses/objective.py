"""From logits of all tuples to a scalar: one softmax per axis, weighed over the axes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def mean_of_axes(n: int) -> list[float]:
    """`loss.axes=all`: the mean over the n axes."""
    return [1 / n] * n


def second_and_mean(n: int) -> list[float]:
    """`loss.axes=first`: the axis of the second view, plus the mean of the others (the original's `meanloss`)."""
    return [1.0 if axis == 1 else 1 / (n - 1) for axis in range(n)]


AXES = {"all": mean_of_axes, "first": second_and_mean}


def cross_entropy(logits: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """sum over axes of weights[axis] * -sum targets * log_softmax(logits, dim=axis); logits and targets (B,)*n."""
    return sum(-weight * (targets * logits.log_softmax(axis)).sum() for axis, weight in enumerate(weights))
