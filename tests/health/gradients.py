"""Makes modules with given gradients, and computes norms by their definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def with_gradients(*gradients: Tensor | None) -> nn.ParameterList:
    """Returns one parameter for each gradient; None: a parameter without a gradient."""
    parameters = nn.ParameterList(
        [nn.Parameter(torch.zeros(2) if g is None else torch.zeros_like(g)) for g in gradients]
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return parameters


def float64_norm(*gradients: Tensor) -> float:
    """Returns the root of the sum of all squared magnitudes, summed without rounding."""
    return math.sqrt(
        math.fsum(abs(value) ** 2 for gradient in gradients for value in gradient.to_dense().flatten().tolist())
    )
