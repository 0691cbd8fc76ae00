"""From logits to the training loss, as the old trainers computed it: the masked loss of one axis, and the mean over
axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from model.errors import ConfigError, one_of
from model.losses.objective.reduction import min_max

# Classes of cells and alpha -> the weights of the cells.
Weights = Callable[[Tensor, Tensor | None], Tensor]
AxisLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def add_loss_sum(I: Sequence[Tensor] = [], T: Sequence[Tensor] = []) -> Tensor:  # noqa: E741 - the old signature
    """Returns the mean of the losses I + the mean of the losses T; an empty sequence adds nothing."""
    means = [torch.stack(list(losses)).mean() for losses in (I, T) if len(losses)]
    return reduce(add, means, torch.zeros(()))


def add_loss_sum2(I: Sequence[Tensor] = [], T: Sequence[Tensor] = []) -> Tensor:  # noqa: E741 - the old signature
    """Returns the mean of the losses I and T together."""
    return torch.stack([*I, *T]).mean()


def learned(classes: Tensor, alpha: Tensor | None) -> Tensor:
    """Returns the softmax(alpha / |alpha|) of the class of each cell. alpha has one element for each class that occurs,
    in ascending order of the classes.
    """
    assert alpha is not None
    norm = alpha.norm()
    weights = (alpha / torch.where(norm > 0, norm, 1)).softmax(0)
    return weights[torch.unique(classes, return_inverse=True)[1]]


def extremes(classes: Tensor, alpha: Tensor | None) -> Tensor:
    """Returns 1 for cells of the two lowest and the two highest classes, 0 for others."""
    values = torch.unique(classes)
    return torch.isin(classes, torch.cat([values[:2], values[-2:]]))


def raw(classes: Tensor, alpha: Tensor | None) -> Tensor:
    """Returns the class of each cell itself."""
    return classes


def weighted(
    reduction: str,
    weights: Weights,
    classes: Tensor,
    x: Tensor,
    y: Tensor,
    alpha: Tensor | None,
) -> Tensor:
    """Returns the cross-entropy along dim 1 of x and y, both times the weights of their cells."""
    by_cell = weights(classes, alpha).to(x.dtype)
    return cross_entropy(x * by_cell, y * by_cell, reduction=reduction)


def unmasked(reduction: str, x: Tensor, y: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Returns the cross-entropy along dim 1."""
    return cross_entropy(x, y, reduction=reduction)


def sigmoid(reduction: str, x: Tensor, y: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Returns -log sigmoid(x y) of every cell, with x and y scaled to [-1, 1]."""
    cells = -logsigmoid(min_max(x) * min_max(y))
    return cells if reduction == "none" else getattr(cells, reduction)()


def loss_of_axis(reduction: str, ver: int, mask: Tensor | None) -> AxisLoss:
    """Returns the function that get_loss_calc of the old modules returned."""
    one_of("reduction", reduction, ("none", "mean", "sum"))
    if ver in (0, 3):
        return partial(unmasked if ver == 0 else sigmoid, reduction)
    if mask is None:
        raise ConfigError(f"mask=None is not enough for ver={ver}; allowed: a tensor with the class of every cell")
    weights: dict[int, Weights] = {1: learned, 2: extremes}
    # The raw classes are large numbers. Their loss was a mean for every reduction.
    return partial(weighted, reduction if ver in weights else "mean", weights.get(ver, raw), mask)
