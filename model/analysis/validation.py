"""The figures of an evaluation, from the views of all its samples. Shapes: n views, N samples, D features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.analysis.retrieval import MatchCounts, cosine_recalls, joint_recalls, rank_from_other_views
from model.losses.objective.loss import ContrastiveLoss
from model.metric_names import KS


def validation_figures(
    loss: ContrastiveLoss,
    views: Tensor,
    scale: Tensor,
    batch_size: int,
    ranks: Sequence[MatchCounts] | None = None,
) -> dict[str, float]:
    """Returns `loss` in nats, and as fractions `recall@k`, the recall of each direction, `joint_recall@k`,
    `joint_recall_all@k` and `swap_acc`.

    views: (n, N, D), the image first, caption 1 second; scale: the multiplier of the scores; ranks: the result of
    `rank_from_other_views`, which is computed if it is None. The loss and the swap
    accuracy contrast batches of `batch_size` samples, as training does, or all N samples if there are fewer. Every
    recall ranks all N samples, so that chance is k / N and only recalls of equal N can be compared.
    """
    loss_of_batches, swap_acc = batch_figures(loss, views, scale, batch_size)
    by_text, by_image = cosine_recalls(views[1], views[0]), cosine_recalls(views[0], views[1])
    return {
        "loss": loss_of_batches,
        **{f"recall@{k}": (by_text[k] + by_image[k]) / 2 for k in KS},
        **{f"text_to_image_recall@{k}": by_text[k] for k in KS},
        **{f"image_to_text_recall@{k}": by_image[k] for k in KS},
        **joint_recalls(rank_from_other_views(loss, views) if ranks is None else ranks),
        "swap_acc": swap_acc,
    }


def batch_figures(loss: ContrastiveLoss, views: Tensor, scale: Tensor, batch_size: int) -> tuple[float, float]:
    """Returns the mean over N samples of the loss, and the mean share of a sample's lines on which the match has the
    highest score.

    Every batch has min(N, batch_size) samples, because the loss of a smaller batch would be lower. The first samples
    fill up the last batch, in which they are candidates only, so that each sample counts once.
    """
    total = views.shape[1]
    size = min(total, batch_size)
    losses, wins = [], []
    for first in range(0, total, size):
        batch = torch.arange(first, first + size, device=views.device) % total
        counted = min(size, total - first)
        figures = loss.row_figures(views[:, batch], scale)
        losses.append(figures.losses[:counted])
        wins.append(figures.wins[:counted])
    return float(torch.cat(losses).mean()), float(torch.cat(wins).mean())
