"""Masks: weights of the tuples, which depend on how their indices agree.

The class of a tuple is the multiset of the counts of its distinct indices. The sum of count^4 over the distinct indices
identifies it: for six views, (0, 0, 0, 0, 0, 0) is 1296 and (0, 0, 0, 0, 0, 1) is 626. Logits and targets are both
multiplied by the weight of their tuple's class. Along a line the counts are (n) at the match and (n - 1, 1) elsewhere.

Shapes: n views, B rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn


def partitions(n: int, parts: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Yields the ways to write n as a sum of at most `parts` positive integers, each in descending order."""
    if n == 0:
        yield ()
    elif parts > 0:
        for first in range(min(n, largest or n), 0, -1):
            for rest in partitions(n - first, parts - 1, first):
                yield (first, *rest)


def class_values(n: int, size: int) -> list[int]:
    """Returns the ascending class values of tuples of n indices below `size`; they are distinct up to n = 12."""
    return sorted(sum(count**4 for count in partition) for partition in partitions(n, size))


def class_of_cells(n: int, size: int, device: torch.device) -> Tensor:
    """Returns the class value of every tuple, (size,)*n."""
    index = [torch.arange(size, device=device).reshape([-1 if axis == k else 1 for axis in range(n)]) for k in range(n)]
    counts = [reduce(add, [(index[j] == index[k]).to(torch.int32) for j in range(n)]) for k in range(n)]
    return reduce(add, [count**3 for count in counts])


class Mask(nn.Module):
    """`loss.mask=none`: every weight is 1."""

    def line_weights(self, n: int, size: int) -> tuple[Tensor | float, Tensor | float]:
        """Returns the weights of the other tuples of a line and of its match."""
        return 1.0, 1.0

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor | float:
        """Returns the weights of all tuples, (size,)*n, or one number. `like` has their dtype and device."""
        return 1.0

    def normaliser(self, n: int, size: int) -> float:
        """Returns the number that `loss.reduction=mean` divides the sum by."""
        return size


class ExtremesMask(Mask):
    """`loss.mask=extremes`: weight 1 for the two lowest and the two highest classes, else 0. A line has only the two
    highest classes.
    """

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor:
        values = class_values(n, size)
        extremes = torch.tensor(sorted({*values[:2], *values[-2:]}), device=like.device)
        return torch.isin(class_of_cells(n, size, like.device), extremes).to(like.dtype)


class RawMask(Mask):
    """`loss.mask=raw`: the weight is the class value."""

    def line_weights(self, n: int, size: int) -> tuple[float, float]:
        return (n - 1) ** 4 + 1, n**4

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor:
        return class_of_cells(n, size, like.device).to(like.dtype)

    def normaliser(self, n: int, size: int) -> float:
        """Returns B^(n-1), the mask's own normalisation."""
        return float(size) ** (n - 1)


class LearnedMask(Mask):
    """`loss.mask=learned`: weights softmax(alpha / |alpha|), one alpha for each class, by ascending class value.

    `views` and `batch_size` of the configuration determine which classes exist. Each alpha starts at 1.
    """

    def __init__(self, views: int, batch_size: int):
        super().__init__()
        self.values = class_values(views, batch_size)
        self.views, self.batch_size = views, batch_size
        self.alpha = nn.Parameter(torch.ones(len(self.values)))

    def _weights(self, n: int, size: int) -> Tensor:
        if n != self.views:
            raise ValueError(f"views: {n} given; accepted: {self.views}, for which loss.mask=learned was made")
        if size > self.batch_size and class_values(n, size) != self.values:
            raise ValueError(
                f"views: {size} rows given; accepted: {self.batch_size} or fewer, for which loss.mask=learned was made"
            )
        alpha = self.alpha.double()
        norm = alpha.norm()
        return torch.where(norm > 0, alpha / torch.where(norm > 0, norm, 1), alpha).softmax(0)

    def line_weights(self, n: int, size: int) -> tuple[Tensor, Tensor]:
        weights = self._weights(n, size)
        return weights[-min(2, len(weights))], weights[-1]

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor:
        values = torch.tensor(self.values, device=like.device)
        return self._weights(n, size)[torch.searchsorted(values, class_of_cells(n, size, like.device))].to(like.dtype)
