"""The row-wise part of a loss: normalises views, computes row-wise statistics and operands, and propagates their
gradients backward to the views.

Shapes: n views, B rows, F features, D directions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Gradients
from model.losses.inputs import Views
from model.losses.numerics import saturate
from model.losses.score import RowStats


class ViewBackward(NamedTuple):
    """The backward of a pass: what it needs from the forward, and the function that computes the gradient."""

    saved: Sequence[Tensor]
    to_views: Callable[[Views, Sequence[Tensor], Tensor], Tensor]
    """(views, saved, gradient of the loss, a scalar) -> the gradient with respect to the views, (n, B, F), float64 for
    float64 views and float32 otherwise, saturated at the largest finite value."""

    def to_tensors(self, tensors: Sequence[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients with respect to the tensors of a call, n views (B, F) or one (n, B, F), in their
        dtype. grad: the gradient of the loss, a scalar.
        """
        is_stacked = tensors[0].dim() == 3
        d_views = self.to_views(tensors[0] if is_stacked else tensors, self.saved, grad)
        if d_views.dtype != tensors[0].dtype:
            d_views = saturate(d_views, tensors[0].dtype)
        return (d_views,) if is_stacked else d_views.unbind()


def scaled_gradient(views: Views, saved: Sequence[Tensor], grad: Tensor) -> Tensor:
    """The `to_views` of a pass that has computed the gradient in the forward, `saved[0]`."""
    limit = torch.finfo(saved[0].dtype).max
    return (saved[0] * grad).clamp_(-limit, limit)


class ViewPass(ABC):
    """The row-wise part of one evaluation. Order of use: `cross_terms` with `flush_direction` after each direction,
    then `to_backward`, then `release_buffers`.
    """

    stats: RowStats
    """The row-wise statistics of the batch, outside autograd: (D, B), (D, r, B), (D, q, B) float64."""
    dtype: torch.dtype
    """The dtype of the operands of the cross terms."""
    shares_operands = True
    """False if the directions are evaluated one by one, in their order, each followed by `flush_direction`."""

    @abstractmethod
    def cross_terms(self) -> Iterator[Sequence[CrossTerm]]:
        """Yields the cross terms of each direction; operands (B, F)."""

    def new_gradients(self) -> Gradients:
        """Returns empty sums of gradients with respect to operands."""
        return Gradients()

    def flush_direction(self, gradients: Gradients) -> Gradients:
        """Ends a direction: propagates gradients that must not be held until the last direction. Returns the sums to
        which the next direction adds.
        """
        return gradients

    @abstractmethod
    def to_backward(self, gradients: Gradients, d_stats: RowStats) -> ViewBackward:
        """Returns the backward, given the gradients with respect to operands and statistics, after the last
        direction.
        """

    def release_buffers(self) -> None:  # noqa: B027 - a pass without reused memory has none to release
        """Returns memory that later steps may reuse. The operands are not valid after it."""
