"""Targets: which tuples should match, (B,)*n.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class DiagonalTargets:
    """`loss.targets=diagonal`: 1 where all n indices agree, else 0."""

    def __call__(self, score: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
        """Returns targets (B,)*n float64 for views (n, B, F); `score` is not read."""
        n, size, _ = views.shape
        targets = views.new_zeros((size,) * n, dtype=torch.float64)
        targets[(torch.arange(size, device=views.device),) * n] = 1
        return targets


class SoftTargets:
    """`loss.targets=soft` (old exactlabels=1): softmax over dimension 1 of the unscaled scores of a random batch.

    The batch is standard normal, is drawn from `seed` at the size of the first call or `batch_size`, and serves as
    every view. A smaller batch uses the leading corner of its targets; a larger batch draws a new random batch.
    """

    def __init__(self, seed: int, batch_size: int | None):
        self.seed, self.batch_size = seed, batch_size
        self.targets: Tensor | None = None

    def __call__(self, score: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
        """Returns targets (B,)*n float64 for views (n, B, F). score: maps rows (n, B, F), as the loss gets them, to the
        scores (B,)*n.
        """
        n, size, features = views.shape
        if self.targets is None or len(self.targets) < size or self.targets.dim() != n:
            shape = max(size, self.batch_size or 0), features
            generator = torch.Generator("cpu").manual_seed(self.seed)
            batch = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            with torch.no_grad():
                self.targets = score(batch.to(views.device).expand(n, -1, -1)).softmax(1)
        return self.targets[(slice(size),) * n].to(views.device)
