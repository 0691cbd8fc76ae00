"""From logits to the training loss, as the old trainers computed it: the masked loss of one axis, and the mean over
axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from model.errors import one_of, require
from model.losses.objective.reduction import min_max

AxisLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def add_loss_sum(I: Sequence[Tensor] = [], T: Sequence[Tensor] = []) -> Tensor:  # noqa: E741 - the old signature
    """The mean of the losses I + the mean of the losses T; an empty sequence adds nothing."""
    return sum(torch.stack(list(losses)).mean() for losses in (I, T) if len(losses))


def add_loss_sum2(I: Sequence[Tensor] = [], T: Sequence[Tensor] = []) -> Tensor:  # noqa: E741 - the old signature
    """The mean of the losses I and T together."""
    return torch.stack([*I, *T]).mean()


def learned(classes: Tensor, alpha: Tensor) -> Tensor:
    """softmax(alpha / |alpha|) by the class of each cell; an alpha for each class that is there, in ascending order."""
    norm = alpha.norm()
    weights = (alpha / torch.where(norm > 0, norm, 1)).softmax(0)
    return weights[torch.unique(classes, return_inverse=True)[1]]


def extremes(classes: Tensor, alpha: Tensor | None) -> Tensor:
    """1 in the two lowest and the two highest classes, 0 in the others."""
    values = torch.unique(classes)
    return torch.isin(classes, torch.cat([values[:2], values[-2:]]))


def raw(classes: Tensor, alpha: Tensor | None) -> Tensor:
    """The class itself."""
    return classes


def weighted(
    reduction: str,
    weights: Callable[[Tensor, Tensor | None], Tensor],
    classes: Tensor,
    x: Tensor,
    y: Tensor,
    alpha: Tensor | None,
) -> Tensor:
    """Cross-entropy along dim 1 of x and y times the weights of their cells."""
    by_cell = weights(classes, alpha).to(x.dtype)
    return cross_entropy(x * by_cell, y * by_cell, reduction=reduction)


def unmasked(reduction: str, x: Tensor, y: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Cross-entropy along dim 1."""
    return cross_entropy(x, y, reduction=reduction)


def sigmoid(reduction: str, x: Tensor, y: Tensor, alpha: Tensor | None = None) -> Tensor:
    """-log sigmoid(x y) of every cell, x and y scaled to [-1, 1]."""
    cells = -logsigmoid(min_max(x) * min_max(y))
    return cells if reduction == "none" else getattr(cells, reduction)()


def loss_of_axis(reduction: str, ver: int, mask: Tensor | None) -> AxisLoss:
    """See get_loss_calc of the old modules."""
    one_of("reduction", reduction, ("none", "mean", "sum"))
    if ver in (0, 3):
        return partial(unmasked if ver == 0 else sigmoid, reduction)
    require(mask is not None, "mask", mask, f"is not enough for ver={ver}", "a tensor with the class of every cell")
    # The raw classes are large: their loss was a mean whatever the reduction.
    return partial(weighted, reduction if ver in (1, 2) else "mean", {1: learned, 2: extremes}.get(ver, raw), mask)
