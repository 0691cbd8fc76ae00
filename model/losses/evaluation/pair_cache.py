"""Computes each inner product of two views once for both of its directions: 3 matrix products per pair instead of 6.

Shapes: n views, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from model.losses.cross_terms import Cells, CrossTerm, Gradients, Product
from model.losses.evaluation.scratch import Scratch


def pair_cache_bytes(n: int, size: int, element: int) -> int:
    """Returns the bytes, values and gradients, of the blocks that are alive at once when the directions of n views are
    evaluated in order.
    """
    return max(a * (n - a) + n - 1 - a for a in range(n)) * 2 * element * size * size


class PairCache:
    """Cells (B, B) by pair of views. The second direction of a pair reads those of the first transposed; then the sum
    of both gradients is propagated to the operands.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._cells: dict[frozenset[int], tuple[Product[Tensor], Cells]] = {}

    def open(self, product: Product[Tensor]) -> Cells:
        """Returns all cells of a product."""
        pair = _pair(product)
        if pair in self._cells:
            return self._cells[pair][1].transpose()
        operand, size = product.row_operand, len(product.row_operand)
        values, grad = (self._scratch.acquire((size, size), operand.dtype, operand.device) for _ in range(2))
        self._cells[pair] = product, Cells(product.cells(slice(0, size), values), grad)
        return self._cells[pair][1]

    def close(self, product: Product[Tensor], cells: Cells, gradients: Gradients | None) -> None:
        """Ends a direction. With the second direction of a pair, the gradients of both are added to `gradients`, unless
        that is None, and the memory is released.
        """
        if cells.transposed:
            first, _ = self._cells.pop(_pair(product))
            if gradients is not None:
                first.backward(slice(0, len(first.row_operand)), cells.grad, gradients)
            self._scratch.release([cells.values, cells.grad])


def products_of(terms: Sequence[CrossTerm]) -> list[Product[Tensor]]:
    """Returns the terms of a direction, all of which are products where `Traits.pairs_both_ways` holds. Raises
    TypeError for another term.
    """
    products = [term for term in terms if isinstance(term, Product)]
    if len(products) < len(terms):
        raise TypeError("a score with pairs_both_ways has cross terms other than products")
    return products


def _pair(product: Product[Tensor]) -> frozenset[int]:
    return frozenset((id(product.row_operand), id(product.col_operand)))
