"""Which tuples should match, (B,)*n.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class DiagonalTargets:
    """`loss.targets=diagonal`: 1 where all n indices agree, else 0."""

    def __call__(self, score: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
        """views (n, B, F) -> (B,)*n float64; `score` is not used."""
        n, size, _ = views.shape
        targets = views.new_zeros((size,) * n, dtype=torch.float64)
        targets[(torch.arange(size, device=views.device),) * n] = 1
        return targets


class SoftTargets:
    """`loss.targets=soft` (the original's exactlabels=1): softmax over dim 1 of the unscaled scores of a random batch.

    One standard normal batch, drawn from `seed` at the size of the first call or `batch_size`, serves as every view.
    A smaller batch takes the leading corner; a larger one draws anew.
    """

    def __init__(self, seed: int, batch_size: int | None):
        self.seed, self.batch_size = seed, batch_size
        self.kept: Tensor | None = None

    def __call__(self, score: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
        """score: (n, B, F) rows as they are given to the loss -> (B,)*n; views (n, B, F) -> targets (B,)*n float64."""
        n, size, features = views.shape
        if self.kept is None or len(self.kept) < size or self.kept.dim() != n:
            shape, generator = (
                (max(size, self.batch_size or 0), features),
                torch.Generator("cpu").manual_seed(self.seed),
            )
            drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            with torch.no_grad():
                self.kept = score(drawn.to(views.device).expand(n, -1, -1)).softmax(1)
        return self.kept[(slice(size),) * n].to(views.device)
