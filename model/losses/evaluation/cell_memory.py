"""Computes the cells of cross terms in memory that is reused, and propagates their gradients to the operands.

Shapes: B rows, T rows of a tile, r rows that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import Cells, CrossTerm, Gradients, Product
from model.losses.evaluation.schedule import Schedule, TermOf
from model.losses.evaluation.scratch import Scratch


class KeptBlock(NamedTuple):
    """The first r rows of a product's cells, and memory for their gradients: (r, B) each."""

    product: Product[Tensor]
    values: Tensor
    grad: Tensor


class CellMemory:
    """The cells of all directions, which are opened and closed tile by tile, in the order of a schedule."""

    def __init__(self, scratch: Scratch, schedule: Schedule, shape: tuple[int, int], like: Tensor):
        """shape: the largest T, and B; like: a tensor with the dtype and the device of the operands."""
        self._scratch, self._schedule = scratch, schedule
        self._shape, self._size, self._dtype, self._device = shape, shape[1], like.dtype, like.device
        self._kept: dict[TermOf, KeptBlock] = {}
        self._buffers: list[Tensor] = []
        self._used = 0

    def open(self, at: TermOf, term: CrossTerm, rows: slice) -> Cells:
        """Returns the cells of some rows of a term. Rows that are kept are not opened together with others."""
        first = self._schedule.first_of.get(at)
        if first is not None and isinstance(term, Product):
            block = self._kept[first]
            count = len(block.values)
            rest = self._buffer(rows, self._size - count)
            if count < self._size:
                term.cells_from(rows, count, rest)
            return Cells(rest, rest, block.values[:, rows], block.grad[:, rows])
        if rows.start < self._schedule.kept_rows.get(at, 0) and isinstance(term, Product):
            block = self._kept_block(at, term)
            return Cells(term.cells(rows, block.values[rows]), block.grad[rows])
        values = term.cells(rows, self._buffer(rows, self._size))
        return Cells(values, values)

    def propagate(self, at: TermOf, term: CrossTerm, rows: slice, cells: Cells, gradients: Gradients) -> None:
        """Adds the gradients of the operands that follow from those of the cells, except those of kept cells."""
        if rows.start < self._schedule.kept_rows.get(at, 0):
            return
        if cells.turned_count and isinstance(term, Product):
            if cells.turned_count < self._size:
                term.backward_from(rows, cells.turned_count, cells.grad, gradients)
        else:
            term.backward(rows, cells.grad, gradients)

    def close_tile(self) -> None:
        """Ends a tile: its cells that are not kept are overwritten by the next."""
        self._used = 0

    def close_directions(self, directions: Sequence[int], gradients: Gradients | None) -> None:
        """Ends directions. The gradients of kept cells whose second direction has ended are added to `gradients`,
        unless that is None, and their memory is released.
        """
        for second, first in self._schedule.first_of.items():
            if second.direction in directions:
                block = self._kept.pop(first)
                if gradients is not None:
                    block.product.backward(slice(0, len(block.grad)), block.grad, gradients)
                self._scratch.release([block.values, block.grad])

    def release(self) -> None:
        """Releases the memory of all tiles."""
        self._scratch.release(self._buffers)
        self._buffers = []

    def _kept_block(self, at: TermOf, product: Product[Tensor]) -> KeptBlock:
        if at not in self._kept:
            shape = self._schedule.kept_rows[at], self._size
            values, grad = (self._scratch.acquire(shape, self._dtype, self._device) for _ in range(2))
            self._kept[at] = KeptBlock(product, values, grad)
        return self._kept[at]

    def _buffer(self, rows: slice, columns: int) -> Tensor:
        """Returns memory for (T, columns) cells, which no other term of the tile has."""
        count = rows.stop - rows.start
        if not columns:
            return torch.empty(count, 0, dtype=self._dtype, device=self._device)
        if self._used == len(self._buffers):
            self._buffers.append(self._scratch.acquire(self._shape, self._dtype, self._device))
        buffer = self._buffers[self._used]
        self._used += 1
        return buffer.view(-1)[: count * columns].view(count, columns)
