"""Centred kernel alignment (CKA) from minibatches. Shapes: B samples of a batch, D features, L layers of the first
model, M of the second.

Nguyen, Raghu and Kornblith 2021, "Do wide and deep networks learn the same things?": the unbiased estimator of HSIC
(Song et al. 2012) is averaged over batches, so that no Gram matrix of all samples is in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# The smallest batch: the estimator divides by B (B - 3).
LEAST = 4


def centred_gram(features: Tensor) -> Tensor:
    """Returns the inner products of (B, …) features, U-centred (Székely and Rizzo 2014): (B, B) float64. The diagonal
    is zero, and rows and columns sum to 0. The sum of the products of two such matrices over B (B - 3) is the unbiased
    HSIC.
    """
    rows = features.flatten(1).double()
    size = len(rows)
    # The result does not depend on the mean. Without it, rows that are nearly alike lose no digits.
    rows = rows - rows.mean(dim=0)
    gram = (rows @ rows.T).fill_diagonal_(0)
    sums = gram.sum(dim=1) / (size - 2)
    centred = gram - sums - sums[:, None] + gram.sum() / ((size - 1) * (size - 2))
    return centred.fill_diagonal_(0)


class MinibatchCKA:
    """Adds up HSIC over batches; `result` is the similarity of all layers of two models."""

    def __init__(self) -> None:
        self.cross = torch.zeros((), dtype=torch.float64)
        """(L, M): HSIC of each layer of the first model with each of the second."""
        self.first = torch.zeros((), dtype=torch.float64)
        """(L,): HSIC of each layer of the first model with itself."""
        self.second = torch.zeros((), dtype=torch.float64)
        """(M,): HSIC of each layer of the second model with itself."""

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Adds a batch of at least LEAST samples: the `centred_gram` of each layer of the two models."""
        size = len(first[0])
        a, b = (torch.stack(list(grams)).flatten(1) for grams in (first, second))
        scale = size * (size - 3)
        self.cross = self.cross + a @ b.T / scale
        self.first = self.first + a.square().sum(dim=1) / scale
        self.second = self.second + b.square().sum(dim=1) / scale

    def result(self) -> Tensor:
        """Returns the similarities (L, M), float64, at most 1 up to rounding. Independent features are near 0, also
        slightly below. A layer with equal outputs for all samples is NaN, because its similarity is not defined.
        """
        self_similarity = self.first[:, None] * self.second
        return torch.where(self_similarity > 0, self.cross / self_similarity.sqrt(), torch.nan)
