"""Finding one view of a sample from its n - 1 others, by the score that was trained. Shapes: n views, N samples, D features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.analysis.retrieval import Places, joined, places
from model.losses.loss import TupleLoss


def rest_places(loss: nn.Module, views: Tensor) -> list[Places] | None:
    """For each view the places of its rows among all N, given the other views' row of (n, N, D) `views`; None for a loss whose scores are of
    pairs. Memory: a few tiles of `loss`."""
    if not isinstance(loss, TupleLoss):
        return None
    found: list[list[Places]] = [[] for _ in views]
    for view, rows, scores in loss.rest_tiles(views):
        found[view].append(places(scores, torch.arange(rows.start, rows.stop, device=scores.device)))
    return [joined(tiles) for tiles in found]
