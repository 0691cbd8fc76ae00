"""Weights of the tuples by how their indices agree.

A cell's class is the multiset of the counts of its distinct indices, identified by sum of count^4 over distinct indices
(for six views, (0, 0, 0, 0, 0, 0) is 1296 and (0, 0, 0, 0, 0, 1) is 626). Logits and targets are both multiplied by the
weight of their cell's class. Along a line the class is (n) at the match and (n - 1, 1) elsewhere.

Shapes: n views, B rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def partitions(n: int, parts: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """The ways to write n as a sum of at most `parts` positive integers, each in descending order."""
    if n == 0:
        yield ()
    elif parts > 0:
        for first in range(min(n, largest or n), 0, -1):
            for rest in partitions(n - first, parts - 1, first):
                yield (first, *rest)


def class_values(n: int, size: int) -> list[int]:
    """Ascending class values of tuples of n indices below `size`; they are distinct up to n = 12."""
    return sorted(sum(count**4 for count in partition) for partition in partitions(n, size))


def class_of_cells(n: int, size: int, device: torch.device) -> Tensor:
    """Class value of every tuple, (size,)*n."""
    index = [torch.arange(size, device=device).reshape([-1 if axis == k else 1 for axis in range(n)]) for k in range(n)]
    return sum(sum((index[j] == index[k]).to(torch.int32) for j in range(n)) ** 3 for k in range(n))


class Mask(nn.Module):
    """`loss.mask=none`: every weight is 1."""

    def line_weights(self, n: int, size: int) -> tuple[Tensor | float, Tensor | float]:
        """Weights of a line's other cells and of its match."""
        return 1.0, 1.0

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor | float:
        """Weights of all tuples, (size,)*n, or one number."""
        return 1.0

    def normaliser(self, n: int, size: int) -> float:
        """What `loss.reduction=mean` divides the sum by."""
        return size


class ExtremesMask(Mask):
    """`loss.mask=extremes`: 1 for the two lowest and the two highest classes, else 0. A line has only the two
    highest.
    """

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor:
        values = class_values(n, size)
        kept = torch.tensor(sorted({*values[:2], *values[-2:]}), device=like.device)
        return torch.isin(class_of_cells(n, size, like.device), kept).to(like.dtype)


class RawMask(Mask):
    """`loss.mask=raw`: the class value itself."""

    def line_weights(self, n: int, size: int) -> tuple[float, float]:
        return (n - 1) ** 4 + 1, n**4

    def cell_weights(self, n: int, size: int, like: Tensor) -> Tensor:
        return class_of_cells(n, size, like.device).to(like.dtype)

    def normaliser(self, n: int, size: int) -> float:
        """The mask's own mean: B^(n-1)."""
        return float(size) ** (n - 1)


class LearnedMask(Mask):
    """`loss.mask=learned`: softmax(alpha / |alpha|), one alpha per class, in ascending order of the class values.

    `views` and `batch_size` are the configured ones; they say which classes there are. The alphas start at 1.
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
