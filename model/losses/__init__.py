"""The loss family: `available()` names it, `make_loss(name, …)` makes one. See docs/losses.md for the formulas."""

from __future__ import annotations

from model.losses.lines import Lines
from model.losses.loss import ContrastiveLoss, TupleLoss
from model.losses.objective import AXES
from model.losses.options import NAMES, check_options
from model.losses.registry import ENTRIES
from model.losses.score import TupleScore

__all__ = ["available", "make_loss"]


def available() -> tuple[str, ...]:
    """Every name that `make_loss` and `loss=` take."""
    return NAMES


def make_loss(
    name: str,
    *,
    normalize: bool = True,
    eps: float = 1e-8,
    targets: str = "diagonal",
    mask: str = "none",
    axes: str = "all",
    reduction: str = "mean",
    evaluation: str = "auto",
    memory_mib: int = 200,
    views: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> ContrastiveLoss:
    """The loss `name` as a module: ``loss(views, logit_scale)``, ``loss.score(views)``, ``loss.lines(views)``.

    The keywords are the keys of ``loss.*`` (conf/loss/_keys.yaml); `views` and `batch_size` are the number of views and
    of rows to expect. Raises ConfigError, a ValueError, for a value that is not known and for combinations that mean nothing.
    """
    check_options(
        name, views=views, batch_size=batch_size, normalize=normalize, eps=eps, targets=targets, mask=mask, axes=axes,
        reduction=reduction, evaluation=evaluation, memory_mib=memory_mib,
    )  # fmt: skip
    entry = ENTRIES[name]
    score = entry.make(eps)
    lines = Lines(score, normalize, eps, memory_mib << 20)
    if not isinstance(score, TupleScore):
        return ContrastiveLoss(lines, mean=reduction == "mean", reads=entry.reads)
    return TupleLoss(lines, dense=evaluation == "dense", mean=reduction == "mean", axes=AXES[axes])
