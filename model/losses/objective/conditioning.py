"""How far a score reaches: where to start its multiplier, and whether its logits can leave chance at all.

The reach of a score depends on the number of views n and of features F: the product of six dense unit rows of 512
features is at most 4e-6, so at a multiplier of 14 its logits are all but equal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.losses.objective.loss import ContrastiveLoss, Views

ORIGINAL_SCALE = 1 / 0.07
ORIGINAL_CAP = 100.0
# Rows of a batch that the spread is measured on: n * ROWS^2 scores.
ROWS = 256
# Logits that differ by less than this leave every softmax within a few per cent of uniform.
NO_REACH = 0.1


@torch.no_grad()
def initial_scale(loss: ContrastiveLoss, views: Views) -> tuple[float, float]:
    """`loss.scale_init=auto`: (natural logarithm of the first multiplier, largest multiplier allowed).

    The multiplier gives the line logits of `views` (n tensors (B, F)) a standard deviation of 1 off the match; the cap
    is ten times that, at least 100. Where the scores do not differ (one row, equal rows) they are the original's 1/0.07
    and 100.
    """
    spread = _spread(loss, views)
    if spread == 0:
        return math.log(ORIGINAL_SCALE), ORIGINAL_CAP
    return -math.log(spread), max(10 / spread, ORIGINAL_CAP)


@torch.no_grad()
def reach_warning(loss: ContrastiveLoss, views: Views, logit_scale: float | Tensor) -> str | None:
    """Says so when logits at this n, F and multiplier cannot leave chance: neither those of `views`, nor those of views
    that agree.
    """
    scale, agreeing = float(logit_scale), [views[0]] * len(views)
    lines = _leading(loss, agreeing)
    gap = (
        (lines.diagonal(dim1=1, dim2=2) - _off_match(lines).mean(2)).abs().amax().item()
        if lines.shape[1] > 1
        else math.inf
    )
    reach = scale * loss.off_weight(len(views), len(views[0])) * max(gap, _spread(loss, views))
    if reach >= NO_REACH or not loss.uses_scale:
        return None
    n, features = len(views), views[0].shape[1]
    return (
        f"loss={loss.name} cannot leave chance: with {n} views of {features} features its logits differ by at most "
        f"{reach:.1e} "
        f"at logit_scale={scale:.3g}, even where all views agree; loss.scale_init=auto starts where they differ by 1"
    )


def _leading(loss: ContrastiveLoss, views: Views) -> Tensor:
    """Line scores (D, B, B) of the leading rows, float64."""
    return loss.lines([view[:ROWS].double() for view in views])


def _off_match(lines: Tensor) -> Tensor:
    """(D, B, B) -> (D, B, B - 1) without the matches."""
    size = lines.shape[1]
    kept = ~torch.eye(size, dtype=torch.bool, device=lines.device)
    return lines[:, kept].reshape(len(lines), size, size - 1)


def _spread(loss: ContrastiveLoss, views: Views) -> float:
    """Standard deviation of the line scores off the match, times the mask's weight there; 0 for one row, and for a
    spread that is rounding.
    """
    scores = _off_match(_leading(loss, views))
    if not scores.numel() or (spread := scores.std(correction=0)) <= 1e-12 * scores.abs().amax():
        return 0.0
    return loss.off_weight(len(views), len(views[0])) * spread.item()
