"""Scales gradients down to a norm that is known already, as `torch.nn.utils.clip_grad_norm_` does. torch only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from model.health.stats import by_device

# torch adds this to the norm before it divides.
TORCH_EPS = 1e-6


def clip_coefficient(norm: Tensor, clip: float | None, clip_above: float | None) -> Tensor:
    """Returns the factor for gradients of global norm `norm`: clip / (norm + 1e-6), but at most 1.

    The factor is 1 where `clip` is None, and where `norm` is not above `clip_above`. As in torch, a norm less than
    1e-6 below `clip` is scaled too.
    """
    if clip is None:
        return torch.ones_like(norm)
    factor = torch.clamp(clip / (norm + TORCH_EPS), max=1.0)
    return factor if clip_above is None else torch.where(norm > clip_above, factor, torch.ones_like(factor))


@torch.no_grad()
def scale_gradients(gradients: Iterable[Tensor], factor: Tensor) -> None:
    """Multiplies each gradient in place by `factor` (0-dimensional). No host synchronisation."""
    for device, tensors in by_device(gradients).items():
        torch._foreach_mul_(tensors, factor.to(device))


def drop_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sets each gradient to None, so that an optimizer changes nothing. A gradient of zeros would still change weights
    through weight decay and momentum.
    """
    for parameter in parameters:
        parameter.grad = None
