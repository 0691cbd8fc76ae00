"""The figures of one evaluation, from the views of all its samples. Shapes: n views, N samples, D features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.analysis.rest import joint_recall
from model.analysis.retrieval import KS, retrieval


def validation_figures(loss: nn.Module, views: Tensor, scale: Tensor, batch_size: int) -> dict[str, float]:
    """`loss`, `swap_acc`, `recall@k`, the recall of both directions, `joint_recall@k` and `joint_recall_all@k`, as
    fractions; the loss in nats.

    `views` (n, N, D), the image first, caption 1 second; `scale` the multiplier of the logits. The loss and the swap
    accuracy contrast batches of `batch_size` samples (of N where there are fewer), as training does; every recall ranks
    all N: compare equal sizes only, chance is k / N.
    """
    loss_of_batches, swap_acc = batch_figures(loss, views, scale, batch_size)
    by_text, by_image = retrieval(views[1], views[0]), retrieval(views[0], views[1])
    return {
        "loss": loss_of_batches,
        **{f"recall@{k}": (by_text[k] + by_image[k]) / 2 for k in KS},
        **{f"text_to_image_recall@{k}": by_text[k] for k in KS},
        **{f"image_to_text_recall@{k}": by_image[k] for k in KS},
        **joint_recall(loss, views),
        "swap_acc": swap_acc,
    }


def batch_figures(loss: nn.Module, views: Tensor, scale: Tensor, batch_size: int) -> tuple[float, float]:
    """The mean over the N samples of the loss, and of the share of its lines that a sample wins.

    Every batch has min(N, batch_size) samples, as the loss of a smaller one would be lower: the first samples fill up
    the last batch. There they are candidates only; each sample is counted once.
    """
    total = views.shape[1]
    size = min(total, batch_size)
    losses, wins = [], []
    for first in range(0, total, size):
        batch = torch.arange(first, first + size, device=views.device) % total
        own = min(size, total - first)
        figures = loss.row_figures(views[:, batch], scale)
        losses.append(figures.losses[:own])
        wins.append(figures.wins[:own])
    return float(torch.cat(losses).mean()), float(torch.cat(wins).mean())
