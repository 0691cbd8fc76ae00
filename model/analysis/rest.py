"""Finding one view of a sample from its n - 1 others, by the score that was trained. Shapes: n views, N samples, D features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.analysis.retrieval import Places, places
from model.losses.loss import TupleLoss


def rest_places(loss: nn.Module, views: Tensor) -> list[Places] | None:
    """For each view the places of its rows among all N, given the other views' row of (n, N, D) `views`; None for a loss whose scores are of
    pairs. Memory: a few tiles of `loss`."""
    if not isinstance(loss, TupleLoss):
        return None
    own = torch.arange(views.shape[1], device=views.device)
    found = own.new_empty(len(views), 3, len(own))
    for view, rows, scores in loss.rest_tiles(views):
        found[view, :, rows] = torch.stack(places(scores, own[rows]))
    return [Places(*of_view) for of_view in found]
