"""Cross-entropy of a line against its match, in a form that stays accurate when the batch is nearly solved.

Shapes: T rows of a tile, B candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Contrast(NamedTuple):
    """The loss of each row, and its gradients with respect to the logits of that row."""

    loss: Tensor  # (T,)
    grad_match: Tensor  # (T,) with respect to the matching logit: -sigmoid(lse)
    grad_others: Tensor  # (T, B) with respect to every other logit; 0 at the matching candidate


def contrast(scores: Tensor, matched: Tensor, first: int, negative_scale: Tensor, match_scale: Tensor) -> Contrast:
    """Returns softplus(lse), lse = logsumexp over c != i of negative_scale * scores[i, c] - match_scale * matched[i].

    It equals logsumexp over all c minus the matching logit. scores (T, B), whose row t belongs to sample first + t;
    matched (T,); the scales are scalars. log_softmax minus one-hot would lose up to 0.3 of a gradient that is nearly
    zero, because it subtracts two numbers close to 1. A row without other candidates has loss and gradients 0.
    """
    logits = torch.sub(scores * negative_scale, (matched * match_scale).unsqueeze(1))
    logits.diagonal(first).fill_(-torch.inf)
    top = logits.amax(1, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    weights = logits.sub_(top).exp_()
    total = weights.sum(1, keepdim=True)
    lse = top + total.log()
    share = lse.sigmoid()
    grad_others = weights.mul_(torch.where(total > 0, share / total, 0))
    loss = torch.logaddexp(lse, torch.zeros_like(lse)).squeeze(1)
    return Contrast(loss, -share.squeeze(1), grad_others)
