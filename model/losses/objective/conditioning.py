"""The first multiplier of a score, and a warning where the logits are too small to learn from.

The range of a score depends on the number of views n and of features F. The product of six dense rows of length 1 and
512 features is at most 4e-6, so at a multiplier of 14 its logits are almost equal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.losses.objective.loss import ContrastiveLoss, Views

ORIGINAL_SCALE = 1 / 0.07
ORIGINAL_CAP = 100.0
# The largest number of rows of a batch that the spread is measured on: n * ROWS^2 scores.
ROWS = 256
# Logits that differ by less than this keep every softmax within a few per cent of uniform.
SMALL_LOGITS = 0.1


@torch.no_grad()
def initial_scale(loss: ContrastiveLoss, views: Views) -> tuple[float, float]:
    """Returns the logarithm of the first multiplier and the largest multiplier, for `loss.scale_init=auto`.

    With this multiplier the line logits of `views` (n tensors (B, F)) have a standard deviation of 1 off the match; the
    largest multiplier is ten times the first, at least 100. Where all scores are equal (one row, equal rows) both are
    those of the original code, 1/0.07 and 100.
    """
    spread = _spread(loss, views)
    if spread == 0:
        return math.log(ORIGINAL_SCALE), ORIGINAL_CAP
    return -math.log(spread), max(10 / spread, ORIGINAL_CAP)


@torch.no_grad()
def reach_warning(loss: ContrastiveLoss, views: Views, logit_scale: float | Tensor) -> str | None:
    """Returns a warning when the logits are too small to learn from at this multiplier, n and F; otherwise None.

    The logits are those of `views`, and those of views that all agree.
    """
    scale, agreeing = float(logit_scale), [views[0]] * len(views)
    lines = _leading(loss, agreeing)
    gap = math.inf
    if lines.shape[1] > 1:
        gap = (lines.diagonal(dim1=1, dim2=2) - _off_match(lines).mean(2)).abs().amax().item()
    reach = scale * loss.off_weight(len(views), len(views[0])) * max(gap, _spread(loss, views))
    if reach >= SMALL_LOGITS or not loss.uses_scale:
        return None
    return (
        f"the logits of loss={loss.name} are too small to learn from: with {len(views)} views of {views[0].shape[1]} "
        f"features they differ by at most {reach:.1e} at logit_scale={scale:.3g}, even where all views agree; "
        f"loss.scale_init=auto starts where they differ by 1"
    )


def _leading(loss: ContrastiveLoss, views: Views) -> Tensor:
    """Returns the line scores (D, B, B) of the first ROWS rows, float64."""
    return loss.lines([view[:ROWS].double() for view in views])


def _off_match(lines: Tensor) -> Tensor:
    """Returns (D, B, B - 1) for line scores (D, B, B), without the matches."""
    size = lines.shape[1]
    off_match = ~torch.eye(size, dtype=torch.bool, device=lines.device)
    return lines[:, off_match].reshape(len(lines), size, size - 1)


def _spread(loss: ContrastiveLoss, views: Views) -> float:
    """Returns the standard deviation of the line scores off the match, times the mask's weight there. It is 0 for one
    row, and where the spread is rounding error.
    """
    scores = _off_match(_leading(loss, views))
    if not scores.numel() or (spread := scores.std(correction=0)) <= 1e-12 * scores.abs().amax():
        return 0.0
    return loss.off_weight(len(views), len(views[0])) * spread.item()
