"""Targets of the cross-entropy over all tuples."""

from __future__ import annotations

import torch
from torch import Tensor


def diagonal(n: int, size: int, like: Tensor) -> Tensor:
    """`loss.targets=diagonal`: (size,)*n, 1 where all n indices agree, else 0."""
    targets = like.new_zeros((size,) * n)
    targets[(torch.arange(size, device=like.device),) * n] = 1
    return targets
