"""The figures of the old calculate_ functions. `mean` is the sum over views, or a function that replaces it.

Shapes: n views (B, F) whose rows are not scaled; figures (B,)*n.
S = mean(x_1, …, x_n), Q = mean(x_1^2, …, x_n^2) and V = Q - S^2 / n, elementwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from model.losses import make_loss
from model.losses.inputs import check_views
from model.losses.numerics import result_dtype, row_norm, safe_sqrt, widen
from model.losses.score import on_axes, others

# n tensors that broadcast -> one.
Mean = Callable[..., Tensor]
# Losses of model.losses that are 1 minus the old function's figure.
ONE_MINUS = tuple(f"loss{k}" for k in range(1, 8))


def total(*vecs: Tensor) -> Tensor:
    """Returns the sum of the views."""
    return reduce(add, vecs)


def james_stein(*vecs: Tensor) -> Tensor:
    """Returns (1 - 4 / Q) S elementwise, where S is the sum and Q the sum of squares of the views; 0, with gradient 0,
    where Q is 0.
    """
    q = total(*(x.square() for x in vecs))
    return torch.where(q > 0, 1 - 4 / torch.where(q > 0, q, 1), 0) * total(*vecs)


def figure(name: str, views: Sequence[Tensor], mean: Mean = total, eps: float = 1e-8) -> Tensor:
    """Returns the figure of the old function that computed the loss `name`: float64 for float64 views and float32 for
    others. eps: what that function added to the length of a sum.

    Raises ValueError or TypeError for views that no loss accepts.
    """
    if name in FORMULAS and (mean is not total or name == "loss8"):  # the old loss8 did not sum over features
        spread_out = [
            on_axes(widen(view), [k, len(views)], len(views) + 1) for k, view in enumerate(check_views(views, None))
        ]
        return FORMULAS[name](spread_out, mean).to(result_dtype(views[0]))
    score = one_score(name, views, normalize=False, eps=eps)
    return 1 - score if name in ONE_MINUS else score


def one_score(name: str, views: Sequence[Tensor], *, normalize: bool = True, eps: float = 1e-8) -> Tensor:
    """Returns the scores of a loss of model.losses whose score is one tensor."""
    score = make_loss(name, normalize=normalize, eps=eps).score(views)
    assert isinstance(score, Tensor)
    return score


def matrices(name: str, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the scores of a loss of model.losses that has two matrices (B, B)."""
    first, second = make_loss(name).score(views)
    return first, second


def as_score(name: str, figures: Tensor) -> Tensor:
    """Returns the score that the old get_loss_fn computed from a figure: 1 - the figure for loss1 to loss7, the sum
    over features of 1 - the figure for loss8, and the figure itself for others.
    """
    if name == "loss8":
        return (1 - figures).sum(-1)
    return 1 - figures if name in ONE_MINUS else figures


def squares(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """Q, see the top of this file."""
    return mean(*(x.square() for x in views))


def spread(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """V, see the top of this file."""
    return squares(views, mean) - mean(*views).square() / len(views)


def along(x: Tensor, rows: Tensor) -> Tensor:
    """Returns the length of x in the direction of `rows`; 0 where a row of `rows` is zero."""
    length = row_norm(rows)
    return (x * (rows / torch.where(length > 0, length, 1))).sum(-1)


def norms(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """|S|."""
    return row_norm(mean(*views)).squeeze(-1)


def normsv4(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """mean_k (x_k.S / |S|)."""
    centre = mean(*views)
    return mean(*(along(x, centre) for x in views))


def normsv5(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """mean_k (x_k.R_k / |R_k|) with R_k the mean of the other views."""
    return mean(*(along(x, mean(*others(views, k))) for k, x in enumerate(views)))


def magnitude(views: Sequence[Tensor], mean: Mean) -> Tensor:
    """m = mean_k |x_k| / n."""
    return mean(*(x.abs() for x in views)) / len(views)


FORMULAS: dict[str, Callable[[Sequence[Tensor], Mean], Tensor]] = {
    "loss1": lambda views, mean: safe_sqrt(spread(views, mean).abs()).mean(-1),
    "loss2": lambda views, mean: safe_sqrt(spread(views, mean)).mean(-1),
    "loss3": lambda views, mean: row_norm(spread(views, mean)).squeeze(-1),
    "loss4": lambda views, mean: safe_sqrt(squares(views, mean)).sum(-1),
    "loss5": lambda views, mean: spread(views, mean).sum(-1),
    "loss6": lambda views, mean: safe_sqrt(spread(views, mean).sum(-1)),
    "loss7": lambda views, mean: spread(views, mean).abs().sum(-1),
    "loss8": spread,
    "norms": norms,
    "normsv2": norms,
    "normsv3": lambda views, mean: norms(views, mean) / len(views),
    "normsv4": normsv4,
    "normsv5": normsv5,
    "normsv6": lambda views, mean: (
        magnitude(views, mean) * (1 - math.sqrt(len(views))) + safe_sqrt(squares(views, mean))
    ).sum(-1),
    "normsv7": lambda views, mean: (
        magnitude(views, mean) * (1 + math.sqrt(len(views))) - safe_sqrt(squares(views, mean))
    ).sum(-1),
}
