"""The views of one evaluation, batch by batch. Shapes: n views, B rows, N rows of the split, D features."""

from __future__ import annotations

import torch
from torch import Tensor

from model.distributed import gather_rows


class EvaluatedViews:
    """Collects the views of the batches of a split, in float32 on the CPU."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def add(self, views: Tensor, indices: Tensor) -> None:
        """Adds the views (n, B, D) of one batch; indices (B,): the numbers of its rows in the split."""
        self._batches.append((views.float().cpu(), indices.cpu()))

    def gather(self) -> Tensor:
        """Returns the views (n, N, D) of all processes in the order of the split, each row once, and forgets them."""
        views = torch.cat([views for views, _ in self._batches], dim=1)
        indices = torch.cat([indices for _, indices in self._batches])
        self._batches.clear()
        views, indices = gather_rows(views, indices)
        order = indices.argsort(stable=True)
        is_first = torch.ones(len(order), dtype=torch.bool)
        is_first[1:] = indices[order].diff() > 0
        return views[:, order[is_first]]
