"""Inner products of two views that both of their directions need, made once and pulled once: 3 products a pair instead
of 6.

Shapes: n views, B rows.
"""

from __future__ import annotations

from model.losses.cross_terms import Cells, Gradients, Product
from model.losses.evaluation.scratch import Scratch


def pair_cache_bytes(n: int, size: int, element: int) -> int:
    """Bytes of the blocks that are alive at once when the directions of n views come in order: values and gradients."""
    return max(a * (n - a) + n - 1 - a for a in range(n)) * 2 * element * size * size


class PairCache:
    """Cells by pair. The second direction of a pair finds them flipped, and sends the sum of both gradients back."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._cells: dict[frozenset[int], tuple[Product, Cells]] = {}

    def open(self, product: Product) -> Cells:
        """All cells of a product."""
        if _key(product) in self._cells:
            return self._cells[_key(product)][1].flip()
        size = len(product.rows)
        values, grad = (self._scratch.take((size, size), product.rows.dtype, product.rows.device) for _ in range(2))
        self._cells[_key(product)] = product, Cells(product.cells(slice(0, size), values), grad)
        return self._cells[_key(product)][1]

    def close(self, product: Product, cells: Cells, sums: Gradients | None) -> None:
        """After a direction: with a pair's second the gradients of both go to the operands, unless `sums` is None."""
        if cells.flipped:
            first, _ = self._cells.pop(_key(product))
            if sums is not None:
                first.pull(slice(0, len(first.rows)), cells.grad, sums)
            self._scratch.give([cells.values, cells.grad])


def _key(product: Product) -> frozenset[int]:
    return frozenset((id(product.rows), id(product.cols)))
