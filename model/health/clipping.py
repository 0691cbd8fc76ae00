"""Scaling gradients down to a norm, as `torch.nn.utils.clip_grad_norm_` does, from a norm that is known already. torch
only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Added to the norm by torch before it divides.
TORCH_EPS = 1e-6


def coefficient(norm: Tensor, clip: float | None, above: float | None) -> Tensor:
    """What gradients of global norm `norm` are multiplied by: clip / (norm + 1e-6), at most 1; 1 where `norm` is not
    above `above`, or `clip` is None. As torch has it, a norm within 1e-6 below `clip` is scaled too.
    """
    if clip is None:
        return torch.ones_like(norm)
    scale = torch.clamp(clip / (norm + TORCH_EPS), max=1.0)
    return scale if above is None else torch.where(norm > above, scale, torch.ones_like(scale))


@torch.no_grad()
def scale_gradients(gradients: Sequence[Tensor], scale: Tensor) -> None:
    """Multiplies every gradient in place by `scale` (0-dimensional); no host synchronisation."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for gradient in gradients:
        by_device.setdefault(gradient.device, []).append(gradient)
    for device, members in by_device.items():
        torch._foreach_mul_(members, scale.to(device))


def drop_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Leaves no gradient, so that an optimizer changes nothing: a zero gradient would still move weights through decay
    and momentum.
    """
    for parameter in parameters:
        parameter.grad = None
