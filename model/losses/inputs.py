"""Checks the views that a loss is called with, and stacks them into one tensor.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Views = Sequence[Tensor] | Tensor


def check_views(views: Views, reads: int | None) -> Views:
    """Returns the first `reads` views, or all where `reads` is None: a list of (B, F), or one tensor (n, B, F) where
    one was given.

    Raises TypeError for a dtype that is not floating, ValueError for fewer than two views, views of different shapes,
    shapes other than (B, F), an empty batch, or no features.
    """
    if len(views) < 2:
        raise ValueError(f"views: {len(views)} given; accepted: 2 or more")
    views = views[:reads]
    for k, view in enumerate(views):
        if not torch.is_floating_point(view):
            raise TypeError(f"views[{k}]: dtype {view.dtype} given; accepted: float64, float32, bfloat16, float16")
        if view.dim() != 2 or 0 in view.shape:
            raise ValueError(f"views[{k}]: shape {tuple(view.shape)} given; accepted: (B, F) with B and F of 1 or more")
        if view.shape != views[0].shape:
            raise ValueError(
                f"views[{k}]: shape {tuple(view.shape)} given; accepted: {tuple(views[0].shape)}, that of views[0]"
            )
    return views if isinstance(views, Tensor) else list(views)


def stacked(views: Views) -> Tensor:
    """Returns the views as one tensor (n, B, F)."""
    return views if isinstance(views, Tensor) else torch.stack(list(views))
