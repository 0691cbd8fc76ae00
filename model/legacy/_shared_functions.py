"""The functions that both old loss files had under the same names. `in_module` returns them for one of the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from model.legacy._deprecation import old_name
from model.legacy._figures import ONE_MINUS
from model.legacy._training_loss import AxisLoss, add_loss_sum, add_loss_sum2, loss_of_axis


def oneminus(args: Tensor) -> Tensor:
    """Returns 1 - args."""
    return 1 - args


def logargs(args: Tensor) -> Tensor:
    """Returns log(args)."""
    return torch.log(args)


def null(*args: Tensor) -> tuple[Tensor, ...]:
    """Returns the arguments."""
    return args


def get_loss_sum(version: bool = False) -> Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]:
    """Returns add_loss_sum if `version` is true, otherwise add_loss_sum2."""
    return add_loss_sum if version else add_loss_sum2


def get_loss_calc(reduction: str = "sum", ver: int = 0, mask: Tensor | None = None) -> AxisLoss:
    """Returns loss(x, y, alpha): the cross-entropy along dim 1 between logits x and targets y, both times the weight of
    each cell.

    reduction: none, mean or sum, as for `torch.nn.functional.cross_entropy`. mask: the class of each cell. `ver`
    chooses the weights: 0, all weights are 1; 1, softmax(alpha / |alpha|), where alpha has one element for each class
    in ascending order; 2, the weight is 1 in the two lowest and the two highest classes and 0 in others; 4 or another,
    the weight is the class itself, and the reduction is the mean. With ver=3 the loss is -log sigmoid(x y) in place of
    a cross-entropy, with x and y scaled to [-1, 1]. Raises ConfigError, a ValueError, for another reduction, and for a
    version that needs a mask and has none.
    """
    return loss_of_axis(reduction, ver, mask)


def in_module(module: str) -> dict[str, Callable[..., Any]]:
    """Returns old name -> the function that the old `module` had."""
    replacements: dict[Callable[..., Any], str] = {
        oneminus: "1 - x",
        logargs: "torch.log",
        null: "the views themselves",
        add_loss_sum: "model.losses.make_loss(name, axes='first'), which adds the axes up",
        add_loss_sum2: "model.losses.make_loss(name, axes='all'), which adds the axes up",
        get_loss_sum: "model.losses.make_loss(name, axes='all'), or axes='first' for version=True",
        get_loss_calc: "model.losses.make_loss(name, mask=…, reduction=…)",
    }
    return {function.__name__: old_name(new, module)(function) for function, new in replacements.items()}


def replacement(name: str) -> str:
    """Returns what replaces the old function of the loss `name`."""
    if name in ("stock", "base", "normsvc"):
        return f"model.losses.make_loss({name!r}).score(views)"
    return f"{'1 - ' if name in ONE_MINUS else ''}model.losses.make_loss({name!r}, normalize=False).score(views)"
