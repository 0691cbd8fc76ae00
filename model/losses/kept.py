"""Inner products of two views that both of their directions need, made once and pulled once: 3 products a pair instead of 6.

Shapes: n views, B rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model.losses.crosses import Gradients, Product


def kept_bytes(n: int, size: int, element: int) -> int:
    """Bytes of the blocks that are alive at once when the directions of n views come in order: values and gradients."""
    return max(a * (n - a) + n - 1 - a for a in range(n)) * 2 * element * size * size


@dataclass
class Block:
    """The products of one pair of views after the first of its two directions."""

    values: Tensor
    grad: Tensor  # the cells of the first direction, over which its gradients are written


class KeptProducts:
    """Blocks by pair. The second direction of a pair reads its block transposed, and sends the sum of both gradients back."""

    def __init__(self) -> None:
        self._blocks: dict[frozenset[int], Block] = {}

    def cells(self, product: Product) -> Tensor:
        """All cells (B, B) of a product, to be written over with their gradients."""
        block = self._blocks.get(_key(product))
        if block is not None:
            cells, block.values = block.values.T.contiguous(), block.values[:0]
            return cells
        values = product.cells(slice(0, len(product.rows)))
        self._blocks[_key(product)] = Block(values, values.clone())
        return self._blocks[_key(product)].grad

    def pull(self, product: Product, grad: Tensor, sums: Gradients) -> None:
        """Takes the gradients of `cells`; those of both directions go to the operands with the second."""
        block = self._blocks[_key(product)]
        if block.grad is grad:
            return
        del self._blocks[_key(product)]
        total = grad.add_(block.grad.T.contiguous())
        product.pull(slice(0, len(total)), total, sums)


def _key(product: Product) -> frozenset[int]:
    return frozenset((id(product.rows), id(product.cols)))
