"""Centred kernel alignment from minibatches. Shapes: B samples of a batch, D features, L layers of one model, M of the
other.

Nguyen, Raghu and Kornblith 2021, "Do wide and deep networks learn the same things?": the unbiased estimator of HSIC
(Song et al. 2012) is averaged over batches, so that no Gram matrix of all samples is held.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# The estimator divides by B (B - 3).
LEAST = 4


def centred_gram(features: Tensor) -> Tensor:
    """(B, …) features -> (B, B) float64: their inner products, U-centred (Székely and Rizzo 2014), so that the sum of
    the products of two such matrices over B (B - 3) is the unbiased HSIC. Zero on the diagonal; rows and columns sum to
    0.
    """
    rows = features.flatten(1).double()
    size = len(rows)
    # No shift changes the result; without one, no digit is lost where all rows are nearly alike.
    rows = rows - rows.mean(dim=0)
    gram = (rows @ rows.T).fill_diagonal_(0)
    sums = gram.sum(dim=1) / (size - 2)
    centred = gram - sums - sums[:, None] + gram.sum() / ((size - 1) * (size - 2))
    return centred.fill_diagonal_(0)


class MinibatchCKA:
    """Sums of HSIC over batches, and the (L, M) similarities that follow."""

    def __init__(self) -> None:
        self.cross: Tensor | float = 0.0
        self.one: Tensor | float = 0.0
        self.other: Tensor | float = 0.0

    def add(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
        """The `centred_gram`s of a batch's layers in one model and in the other, of at least LEAST samples."""
        size = len(one[0])
        a, b = (torch.stack(list(grams)).flatten(1) for grams in (one, other))
        scale = size * (size - 3)
        self.cross = self.cross + a @ b.T / scale
        self.one = self.one + a.square().sum(dim=1) / scale
        self.other = self.other + b.square().sum(dim=1) / scale

    def result(self) -> Tensor:
        """(L, M) float64, at most 1 but for rounding; near 0 for independent features, also below it. NaN where a layer
        says the same of every sample, for which no similarity is defined.
        """
        self_similarity = self.one[:, None] * self.other
        return torch.where(self_similarity > 0, self.cross / self_similarity.sqrt(), torch.nan)
