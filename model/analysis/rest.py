"""Finding one view of a sample from its n - 1 others, by the score that was trained. Shapes: n views, N samples, D
features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.analysis.retrieval import KS, Places, places, recall_of


def rest_places(loss: nn.Module, views: Tensor) -> list[Places]:
    """For each view that the loss reads, the places of its rows among all N, given the other views' row of (n, N, D)
    `views`. Memory: a few tiles of `loss`.
    """
    read = views[: loss.reads]
    own = torch.arange(read.shape[1], device=views.device)
    found = own.new_empty(len(read), 3, len(own))
    for view, rows, scores in loss.rest_tiles(read):
        found[view, :, rows] = torch.stack(places(scores, own[rows]))
    return [Places(*of_view) for of_view in found]


def joint_recall(loss: nn.Module, views: Tensor) -> dict[str, float]:
    """`joint_recall@k`: the share of images found among all N from the sample's other views; `joint_recall_all@k`: the
    mean of the same over every view as the one to find. Ties count as the mean over their orders.
    """
    found = rest_places(loss, views)
    recalls = {k: [recall_of(of_view, k) for of_view in found] for k in KS}
    return {
        **{f"joint_recall@{k}": recalls[k][0] for k in KS},
        **{f"joint_recall_all@{k}": sum(recalls[k]) / len(found) for k in KS},
    }
