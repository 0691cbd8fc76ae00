"""The figures of one evaluation, from the views of all its samples. Shapes: n views, N samples, D features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.analysis.rest import joint_recall
from model.analysis.retrieval import KS, retrieval


def validation_figures(loss: nn.Module, views: Tensor, scale: Tensor, batch_size: int) -> dict[str, float]:
    """`loss`, `swap_acc`, `recall@k`, the recall of both directions, `joint_recall@k` and `joint_recall_all@k`, as fractions; the loss in nats.

    `views` (n, N, D), the image first, caption 1 second; `scale` the multiplier of the logits. The loss and the swap accuracy contrast
    batches of about `batch_size` samples, as training does; every recall ranks all N: compare equal sizes only, chance is k / N.
    """
    batches = views.split(even_sizes(views.shape[1], batch_size), dim=1)
    weights = torch.tensor([batch.shape[1] / views.shape[1] for batch in batches], dtype=torch.float64)
    losses = torch.tensor([float(loss(batch, scale)) for batch in batches], dtype=torch.float64)
    swaps = torch.tensor([swap_accuracy(loss.lines(batch)) for batch in batches], dtype=torch.float64)
    by_text, by_image = retrieval(views[1], views[0]), retrieval(views[0], views[1])
    return {
        "loss": float(losses @ weights),
        **{f"recall@{k}": (by_text[k] + by_image[k]) / 2 for k in KS},
        **{f"text_to_image_recall@{k}": by_text[k] for k in KS},
        **{f"image_to_text_recall@{k}": by_image[k] for k in KS},
        **joint_recall(loss, views),
        "swap_acc": float(swaps @ weights),
    }


def even_sizes(total: int, size: int) -> list[int]:
    """Split `total` samples into as few batches of at most `size` as it takes, as even as they come (a last batch of one would contrast nothing)."""
    parts = max(1, math.ceil(total / size))
    return [total // parts + (i < total % parts) for i in range(parts)]


def swap_accuracy(lines: Tensor) -> float:
    """(n, B, B) line logits [view, row, candidate] -> how often the matching candidate wins, averaged over views; a tie counts as lost."""
    match = lines.diagonal(dim1=1, dim2=2)
    others = lines.clone()
    others.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    return (match > others.amax(dim=2)).double().mean().item()
