"""Reduces logits and targets of all tuples, (B,)*n, to the loss of each row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def mean_of_axes(n: int) -> list[float]:
    """Returns the weights of `loss.axes=all`: the mean over the n axes."""
    return [1 / n] * n


def second_and_mean(n: int) -> list[float]:
    """Returns the weights of `loss.axes=first`: the second view plus the mean of the others (old `meanloss`)."""
    return [1.0 if axis == 1 else 1 / (n - 1) for axis in range(n)]


def cross_entropy(logits: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """Returns (B,), for each row of the first view: the sum over axes of
    weights[axis] * -sum targets * log_softmax(logits, dim=axis).
    """
    terms = [-weight * (targets * logits.log_softmax(axis)).flatten(1).sum(1) for axis, weight in enumerate(weights)]
    return reduce(add, terms)


def sigmoid_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns (B,), for each row of the first view: -sum log sigmoid(logits * targets), both min-max scaled to [-1, 1],
    which is the loss of `loss.mask=sigmoid`. A factor of the logits cancels.
    """
    return -logsigmoid(min_max(logits) * min_max(targets)).flatten(1).sum(1)


def min_max(x: Tensor) -> Tensor:
    """Returns `x` scaled so that its smallest entry is -1 and its largest 1; a constant tensor becomes 0."""
    low, high = x.amin(), x.amax()
    width = high - low
    return torch.where(width > 0, 2 * (x - low) / torch.where(width > 0, width, 1) - 1, 0)
