"""CrossTerm-entropy of a line against its matching candidate, in the form that stays accurate when the batch is nearly
solved.

Shapes: T rows of a tile, B candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Contrast(NamedTuple):
    """Loss of each row and its derivatives."""

    loss: Tensor  # (T,)
    pull: Tensor  # (T,) = sigmoid(lse): the derivative by the matching logit is -pull
    push: Tensor  # (T, B) the derivative by every other logit; 0 at the matching candidate


def contrast(scores: Tensor, matched: Tensor, first: int, off: Tensor, diagonal: Tensor) -> Contrast:
    """softplus(lse), lse = logsumexp over c != i of off * scores[i, c] - diagonal * matched[i].

    scores (T, B), whose row r belongs to sample first + r; matched (T,); off and diagonal: multipliers, scalars. It
    equals logsumexp over all c minus the matching logit. log_softmax minus one-hot would lose up to 0.3 of a gradient
    that is nearly zero, because it subtracts two numbers close to 1. A row without other candidates has loss and
    derivatives 0.
    """
    logits = torch.sub(scores * off, (matched * diagonal).unsqueeze(1))
    logits.diagonal(first).fill_(-torch.inf)
    top = logits.amax(1, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    weights = logits.sub_(top).exp_()
    total = weights.sum(1, keepdim=True)
    lse = top + total.log()
    pull = lse.sigmoid()
    push = weights.mul_(torch.where(total > 0, pull / total, 0))
    return Contrast(torch.logaddexp(lse, torch.zeros_like(lse)).squeeze(1), pull.squeeze(1), push)
