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
from model.losses.compiled.native_arguments import address, entry_point, match_range, rows_address
from model.losses.compiled.program import Program
from model.losses.compiled.source_text import source_text
from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import Cells, Tile
from model.losses.score import RowStats, Score
from model.losses.symbols import Symbol, input_symbol

# (cells, statistics of the row, statistics of the candidate, number of features) -> score.
Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol], Symbol], Symbol]


class Factors(NamedTuple):
    """The numbers that a pass over a tile reads."""

    negative_scale: float
    match_scale: float
    features: float


class Counts(NamedTuple):
    """The numbers of cross terms, statistics of a row and statistics of a candidate of a formula."""

    cells: int
    row: int
    col: int


class Input(NamedTuple):
    """An input of the formula: its place among the inputs of its kind (cells, row, col), and its name in C++."""

    place: int
    name: str


def line_source(formula: Formula, counts: Counts, dtype: torch.dtype) -> str:
    """Returns the C++ of the kernel of a formula, for cells of float32 or float64."""
    cells, row, col = (_inputs(letter, count) for letter, count in zip("grc", counts, strict=True))
    features = input_symbol("features")
    program = Program(formula(cells, row, col, features), [*cells, *row, *col, features])
    definitions: dict[str, str | int] = {"FORMULA_CELLS": counts.cells}
    definitions |= {"FORMULA_ROWS": counts.row, "FORMULA_COLS": counts.col}
    definitions |= _saving(program.auxiliaries())
    definitions |= _reading_and_writing(*(_used(program, inputs) for inputs in (cells, row, col)))
    definitions |= {
        "VALUE": program.value(),
        "VALUE_FROM_SAVED": program.value(saved=True),
        "DERIVATIVES": program.derivatives(),
    }
    return source_text(["functions.hpp", "scalar.hpp", "transpose.hpp"], definitions, "line_kernel.hpp", dtype)


def _inputs(letter: str, count: int) -> list[Symbol]:
    return [input_symbol(f"{letter}{k}") for k in range(count)]


def _used(program: Program, inputs: Sequence[Symbol]) -> list[Input]:
    """Returns the inputs that the result depends on."""
    return [Input(k, str(symbol.data[0])) for k, symbol in enumerate(inputs) if program.uses(symbol)]


def _saving(names: Sequence[str]) -> dict[str, str | int]:
    """Returns the macros that save roots, reciprocals and powers in the first pass over a row, for the second pass."""
    return {
        "FORMULA_SAVED": len(names),
        "POINT_TO_SAVED": " ".join(f"T* k_{name} = saved + {k} * size;" for k, name in enumerate(names)),
        "SAVE": " ".join(f"k_{name}[c] = {name};" for name in names),
        "READ_SAVED": " ".join(f"const T {name} = k_{name}[c];" for name in names),
    }


def _reading_and_writing(cells: Sequence[Input], row: Sequence[Input], col: Sequence[Input]) -> dict[str, str | int]:
    """Returns the macros that read the inputs from the arrays, and that write the gradients."""
    read_cells = [f"const T {name} = p_{name}[c];" for _, name in cells]
    return {
        "POINT_TO_CELLS": _joined(
            "const C* p_{1} = from[{0}] + t * step[{0}]; C* q_{1} = to[{0}] + t * step[{0}];", cells
        ),
        "POINT_TO_COL_GRADS": _joined("T* s_{1} = col_grads + {0} * size;", col),
        "READ_ROW": _joined("const T {1} = row[{0} * size + i];", row),
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
        "WRITE_ROW_GRADS": _joined("d_row[{0} * size + i] += n_{1};", row),
        "WRITE_COL_GRADS": _joined("for (I c = 0; c < size; ++c) d_col[{0} * size + c] += s_{1}[c];", col),
    }


def _joined(template: str, inputs: Sequence[Input]) -> str:
    return " ".join(template.format(place, name) for place, name in inputs)


class _CrossTermCells(ctypes.Structure):
    """`CrossTermCells` of line_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("values", "grads", "turned", "turned_grads")],
        *[(name, ctypes.c_int64) for name in ("stride", "turned_stride", "turned_count")],
    )


class _LineTile(ctypes.Structure):
    """`LineTile` of line_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("cells", "directions", "weights")],
        *[(name, ctypes.c_int64) for name in ("direction_count", "first", "rows", "size", "need_grad", "threads")],
        *[(name, ctypes.c_double) for name in ("negative_scale", "match_scale", "features")],
        *[(name, ctypes.c_void_p) for name in ("matched", "row", "col", "sums", "d_matched", "d_row", "d_col")],
    )


class LineKernel:
    """The compiled pass of one formula over cells of one dtype."""

    def __init__(self, compiled: ctypes.CDLL, counts: Counts, dtype: torch.dtype):
        self._function = entry_point(compiled, "line")
        self._counts, self._dtype = counts, dtype

    def __call__(
        self,
        tile: Tile,
        stats: RowStats,
        factors: Factors,
        need_grad: bool,
        sums: Tensor,
        d_stats: RowStats,
    ) -> None:
        """Computes a tile. Adds the loss and its gradients with respect to the two scales to `sums` (3,), those with
        respect to the statistics of the batch to `d_stats`, and writes those of the cells into the cells, if
        `need_grad`.

        stats: matched (D, B), row (D, r, B), col (D, q, B). Statistics and sums are float64. Raises ValueError for a
        tensor with another shape, dtype or layout, and for rows or directions that the batch does not have.
        """
        self.bind(tile, stats, need_grad, sums, d_stats)(factors)

    def bind(self, tile: Tile, stats: RowStats, need_grad: bool, sums: Tensor, d_stats: RowStats) -> LineCall:
        """Returns the call as a function of the factors alone, which reads and writes this memory."""
        (total, size), rows, count = stats.matched.shape, tile.rows, len(tile.directions)
        cells = _cells_of(tile, self._counts.cells, size, self._dtype)
        if not all(0 <= d < total for d in tile.directions) or len(tile.weights) != count:
            raise ValueError(
                f"native code was given the directions {list(tile.directions)} with {len(tile.weights)} weights; "
                f"accepted: 0 to {total - 1}, each with a weight"
            )
        directions = (ctypes.c_int64 * count)(*tile.directions)
        weights = (ctypes.c_double * count)(*tile.weights)
        stat_shapes = (total, size), (total, self._counts.row, size), (total, self._counts.col, size)
        tensors = zip((*stats, sums, *d_stats), (*stat_shapes, (3,), *stat_shapes), strict=True)
        addresses = [address(tensor, shape, torch.float64) for tensor, shape in tensors]
        first = match_range(rows.start, rows.stop - rows.start, size)
        sizes = count, first, rows.stop - first, size, need_grad, 1
        arrays: list[ctypes.Array] = [cells, directions, weights]
        arguments = _LineTile(*map(ctypes.addressof, arrays), *sizes, 1.0, 1.0, 1.0, *addresses)
        return LineCall(self._function, arguments, (arrays, tile, stats, sums, d_stats))


class LineCall:
    """The pass over a tile with the memory that it reads and writes."""

    def __init__(self, function: Callable[..., None], arguments: _LineTile, keep: object) -> None:
        """arguments: refers to the memory of `keep`."""
        self._function, self._arguments, self._keep = function, arguments, keep

    def __call__(self, factors: Factors) -> None:
        """Runs the pass."""
        arguments = self._arguments
        arguments.negative_scale, arguments.match_scale, arguments.features = factors
        arguments.threads = torch.get_num_threads()
        self._function(ctypes.byref(arguments))


def _cells_of(tile: Tile, terms: int, size: int, dtype: torch.dtype) -> ctypes.Array:
    """Returns the cells of a tile as C's array, by direction and cross term."""
    if len(tile.cells) != len(tile.directions) or any(len(of_direction) != terms for of_direction in tile.cells):
        counts = [len(of_direction) for of_direction in tile.cells]
        raise ValueError(
            f"native code was given {counts} cross terms; accepted: {terms} for each of {len(tile.directions)} "
            f"directions"
        )
    rows = tile.rows.stop - tile.rows.start
    fields = [_term_cells(cells, rows, size, dtype) for of_direction in tile.cells for cells in of_direction]
    return (_CrossTermCells * len(fields))(*(_CrossTermCells(*values) for values in fields))


def _term_cells(cells: Cells, rows: int, size: int, dtype: torch.dtype) -> tuple[int, ...]:
    """Returns the fields of `_CrossTermCells`."""
    turned = cells.turned_count
    shape, turned_shape = (rows, size - turned), (turned, rows)
    values, stride = rows_address(cells.values, shape, dtype)
    grads, grad_stride = rows_address(cells.grad, shape, dtype)
    turned_values, turned_stride = rows_address(cells.turned, turned_shape, dtype)
    turned_grads, turned_grad_stride = rows_address(cells.turned_grad, turned_shape, dtype)
    if stride != grad_stride or turned_stride != turned_grad_stride:
        raise ValueError("native code was given values and gradients of different strides; accepted: equal strides")
    return values, grads, turned_values, turned_grads, stride, turned_stride, turned


@cached_by_object
def line_kernel(score: Score, n: int, counts: Counts, dtype: torch.dtype) -> LineKernel | None:
    """Returns the kernel of a score of n views for cells of float32 or float64; None where it cannot be compiled."""
    source = line_source(lambda cells, row, col, features: score.line(cells, row, col, n, features), counts, dtype)
    compiled = library(source)
    return LineKernel(compiled, counts, dtype) if compiled is not None else None
