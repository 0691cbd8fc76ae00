"""One compiled pass over a tile of line scores: formula, cross-entropy against the match, and the gradients of both.

The formula is the score's own `line`, called with symbols; the loops are in line_kernel.hpp.

Shapes: T rows of a tile, B candidates, r statistics of a row, q statistics of a candidate.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, call_entry, entry_points, match_range
from model.losses.compiled.program import Program
from model.losses.compiled.source_text import source_text
from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import Cells
from model.losses.score import RowStats, Score
from model.losses.symbols import Symbol, input_symbol

# (cells, statistics of the row, statistics of the candidate, number of features) -> score.
Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol], Symbol], Symbol]


class Counts(NamedTuple):
    """The numbers of cross terms, statistics of a row and statistics of a candidate of a formula."""

    cells: int
    row: int
    col: int


class Input(NamedTuple):
    """An input of the formula: its place among the inputs of its kind (cells, row, col), and its name in C++."""

    place: int
    name: str


def line_source(formula: Formula, counts: Counts) -> str:
    """Returns the C++ of the kernel of a formula."""
    cells, row, col = (_inputs(letter, count) for letter, count in zip("grc", counts, strict=True))
    features = input_symbol("features")
    program = Program(formula(cells, row, col, features), [*cells, *row, *col, features])
    definitions: dict[str, str | int] = {"FORMULA_CELLS": counts.cells, "FORMULA_COLS": counts.col}
    definitions |= _saving(program.auxiliaries())
    definitions |= _reading_and_writing(*(_used(program, inputs) for inputs in (cells, row, col)))
    definitions |= {
        "VALUE": program.value(),
        "VALUE_FROM_SAVED": program.value(saved=True),
        "DERIVATIVES": program.derivatives(),
    }
    return source_text(["functions.hpp", "scalar.hpp", "transpose.hpp"], definitions, "line_kernel.hpp")


def _inputs(letter: str, count: int) -> list[Symbol]:
    return [input_symbol(f"{letter}{k}") for k in range(count)]


def _used(program: Program, inputs: Sequence[Symbol]) -> list[Input]:
    """Returns the inputs that the result depends on."""
    return [Input(k, str(symbol.data[0])) for k, symbol in enumerate(inputs) if program.uses(symbol)]


def _saving(names: Sequence[str]) -> dict[str, str | int]:
    """Returns the macros that save roots and reciprocals in the first pass over a row, for the second pass."""
    return {
        "FORMULA_SAVED": len(names),
        "POINT_TO_SAVED": " ".join(f"T* k_{name} = saved.data() + {k} * size;" for k, name in enumerate(names)),
        "SAVE": " ".join(f"k_{name}[c] = {name};" for name in names),
        "READ_SAVED": " ".join(f"const T {name} = k_{name}[c];" for name in names),
    }


def _reading_and_writing(cells: Sequence[Input], row: Sequence[Input], col: Sequence[Input]) -> dict[str, str | int]:
    """Returns the macros that read the inputs from the arrays, and that write the gradients."""
    read_cells = [f"const T {name} = p_{name}[c];" for _, name in cells]
    return {
        "POINT_TO_CELLS": _joined("const C* p_{1} = from[{0}] + offset; C* q_{1} = to[{0}] + offset;", cells),
        "POINT_TO_COL_GRADS": _joined("T* s_{1} = col_grads.data() + {0} * size;", col),
        "READ_ROW": _joined("const T {1} = row[{0} * rows + i];", row),
        "READ_CELL": " ".join([*read_cells, _joined("const T {1} = col[{0} * size + c];", col)]),
        "DECLARE_ROW_GRADS": _joined("T n_{1} = 0;", row),
        "ROW_GRADS": _joined(", n_{1}", row),
        "ADD_GRADS": " ".join(
            [
                _joined("q_{1}[c] = C(d_{1});", cells),
                _joined("n_{1} += d_{1};", row),
                _joined("s_{1}[c] += d_{1};", col),
            ]
        ),
        "WRITE_ROW_GRADS": _joined("d_row[{0} * rows + i] += n_{1};", row),
        "WRITE_COL_GRADS": _joined("for (I c = 0; c < size; ++c) d_col[{0} * size + c] += s_{1}[c];", col),
    }


def _joined(template: str, inputs: Sequence[Input]) -> str:
    return " ".join(template.format(place, name) for place, name in inputs)


class _LineTile(ctypes.Structure):
    """`LineTile` of line_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("cells", "grads", "transposed")],
        *[(name, ctypes.c_int64) for name in ("rows", "size", "first", "need_grad", "threads")],
        *[(name, ctypes.c_double) for name in ("negative_scale", "match_scale", "weight", "features")],
        *[(name, ctypes.c_void_p) for name in ("matched", "row", "col", "sums", "d_matched", "d_row", "d_col")],
    )


class LineKernel:
    """The compiled pass of one formula."""

    def __init__(self, compiled: ctypes.CDLL, counts: Counts):
        self._functions = entry_points(compiled, "line")
        self._counts = counts

    def __call__(
        self,
        cells: Sequence[Cells],
        first: int,
        stats: RowStats,
        factors: Sequence[float],
        need_grad: bool,
        sums: Tensor,
        d_stats: RowStats,
    ) -> None:
        """Computes a tile. Adds the loss and its gradients with respect to the two scales to `sums` (3,), those with
        respect to the statistics to `d_stats`, and writes those of the cells into the cells, if `need_grad`.

        cells: contiguous; first: the candidate that matches the first row; stats: matched (T,), row (r, T), col (q, B);
        factors: negative scale, match scale, weight, F. Statistics and sums are float64. Raises ValueError for a tensor
        with another shape, dtype or layout.
        """
        if len(cells) != self._counts.cells:
            raise ValueError(f"native code was given {len(cells)} cross terms; accepted: {self._counts.cells}")
        rows, size, dtype = len(stats.matched), stats.col.shape[-1], cells[0].values.dtype
        shapes = [(size, rows) if x.transposed else (rows, size) for x in cells]
        values = [address(x.values, shape, dtype) for x, shape in zip(cells, shapes, strict=True)]
        grads = [address(x.grad, shape, dtype) for x, shape in zip(cells, shapes, strict=True)]
        pointers = ctypes.c_void_p * self._counts.cells
        transposed = (ctypes.c_int64 * self._counts.cells)(*(x.transposed for x in cells))
        arrays: list[ctypes.Array] = [pointers(*values), pointers(*grads), transposed]
        stat_shapes = (rows,), (self._counts.row, rows), (self._counts.col, size)
        tensors = zip((*stats, sums, *d_stats), (*stat_shapes, (3,), *stat_shapes), strict=True)
        addresses = [address(tensor, shape, torch.float64) for tensor, shape in tensors]
        sizes = rows, size, match_range(first, rows, size), need_grad, torch.get_num_threads()
        tile = _LineTile(*(ctypes.addressof(array) for array in arrays), *sizes, *factors, *addresses)
        call_entry(self._functions, dtype, tile)


@cached_by_object
def line_kernel(score: Score, n: int, counts: Counts) -> LineKernel | None:
    """Returns the kernel of a score of n views; None where it cannot be compiled."""
    compiled = library(line_source(lambda cells, row, col, features: score.line(cells, row, col, n, features), counts))
    return LineKernel(compiled, counts) if compiled is not None else None
