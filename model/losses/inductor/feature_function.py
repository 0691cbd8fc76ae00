"""Sums over features of an integrand, and their gradients, as functions of tensors that never hold (T, B, F) numbers.

Shapes: T rows, B candidates, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from model.losses.compiled.weak_cache import cached_by_object
from model.losses.inductor.compile import CompiledFunction, recorded
from model.losses.inductor.tensor_program import Values, backward, forward
from model.losses.integrands import Integrand
from model.losses.symbols import Symbol, input_symbol


class FeatureFunctions(NamedTuple):
    """The compiled functions of an integrand. Operands are (T, F) at the rows and (B, F) at the candidates."""

    cells: CompiledFunction
    """(row operands, candidate operands, candidate operands at the match of each row, (T, F)) -> the sums less those at
    the match, (T, B)."""
    d_row: CompiledFunction
    """(row operands, candidate operands, gradient of the cells (T, B)) -> the gradients of the row operands."""
    d_col: CompiledFunction
    """As `d_row`, of the candidate operands. Each reduces along another dimension, and one function would store what it
    has in common with the other."""

    def sums(self, row: Sequence[Tensor], col: Sequence[Tensor], rows: slice) -> Tensor:
        """Returns the sums (T, B) of some rows of operands (B, F), less those at the match."""
        (values,) = self.cells(*(x[rows] for x in row), *col, *(x[rows] for x in col))
        return values

    def gradients(self, row: Sequence[Tensor], col: Sequence[Tensor], rows: slice, grad: Tensor) -> list[Tensor]:
        """Returns the gradients of the row operands, (T, F), and of the candidate operands, (B, F), that follow from
        that of `sums`.
        """
        inputs = (*(x[rows] for x in row), *col, grad)
        return [*self.d_row(*inputs), *self.d_col(*inputs)]


@cached_by_object
def feature_functions(integrand: Integrand, row_count: int, col_count: int) -> FeatureFunctions:
    """Returns the functions of an integrand with these numbers of row and candidate operands."""
    rows, cols = ([input_symbol(f"{x}{k}") for k in range(count)] for x, count in (("r", row_count), ("c", col_count)))
    result = integrand(*rows, *cols)

    def values_of(row: Sequence[Tensor], col: Sequence[Tensor]) -> Values:
        return forward([result], dict(zip([*rows, *cols], [*row, *col], strict=True)))

    def split(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Sequence[Tensor]]:
        row, col = tensors[:row_count], tensors[row_count : row_count + col_count]
        return [x.unsqueeze(1) for x in row], [x.unsqueeze(0) for x in col], tensors[row_count + col_count :]

    def cells(*tensors: Tensor) -> Sequence[Tensor]:
        row, col, match = split(tensors)
        at_match = values_of(row, [x.unsqueeze(1) for x in match])[result]
        return [(values_of(row, col)[result] - at_match).sum(2)]

    def gradients(tensors: Sequence[Tensor], of: Sequence[Symbol], dimension: int) -> Sequence[Tensor]:
        row, col, (grad,) = split(tensors)
        totals = backward({result: grad.unsqueeze(2)}, values_of(row, col))
        return [totals[symbol].sum(dimension) for symbol in of]

    operands = [0] * (row_count + col_count)
    return FeatureFunctions(
        CompiledFunction(lambda count: recorded(cells, count), [*operands, *[0] * col_count]),
        CompiledFunction(lambda count: recorded(lambda *x: gradients(x, rows, 1), count), [*operands, 0]),
        CompiledFunction(lambda count: recorded(lambda *x: gradients(x, cols, 0), count), [*operands, 0]),
    )
