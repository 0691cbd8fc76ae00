"""The row-wise part of a loss in two compiled passes over the views: forward to normalised operands and sums over
features, and backward.

The formula is the score's own `row_sums` and `cross_terms`, called with symbols; the loops are in row_kernel.hpp. The
views are read once, and nothing of their size is held in float64. Shapes: n views, B rows, F features, s sums, m
operands.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, addresses, entry_point
from model.losses.compiled.program import Program
from model.losses.compiled.source_text import source_text
from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import SymbolicTerm
from model.losses.score import RowSumScore
from model.losses.symbols import Symbol, input_symbol


class TermPlaces(NamedTuple):
    """A cross term of symbols, and the places of its operands among all operands."""

    term: SymbolicTerm
    places: tuple[int, ...]


class RowFormula(NamedTuple):
    """What a score of n views computes of a sample, as symbols."""

    inputs: list[Symbol]
    sums: list[Symbol]
    operands: list[Symbol]
    terms: list[list[TermPlaces]]
    """For each direction, its cross terms."""


def row_formula(score: RowSumScore, n: int) -> RowFormula:
    """Calls the methods of a score with symbols."""
    inputs = [input_symbol(f"x{k}") for k in range(n)]
    directions = list(score.cross_terms(inputs))
    operands = list(dict.fromkeys(operand for terms in directions for term in terms for operand in term.operands))
    place = {operand: k for k, operand in enumerate(operands)}
    places = [[TermPlaces(term, tuple(place[x] for x in term.operands)) for term in terms] for terms in directions]
    return RowFormula(inputs, score.row_sums(inputs), operands, places)


def row_source(formula: RowFormula, dtype: torch.dtype) -> str:
    """Returns the C++ of both passes, for operands of float32 or float64."""
    program = Program([*formula.sums, *formula.operands], formula.inputs)
    sums, operands = range(len(formula.sums)), range(len(formula.operands))
    used = [k for k, symbol in enumerate(formula.inputs) if program.uses(symbol)]
    first = len(formula.sums)
    definitions: dict[str, object] = {
        "FORMULA_VIEWS": len(formula.inputs),
        "POINT_TO_VIEWS": _joined("const float* v{0} = views[{0}] + b * features; const T n{0} = inverse[{0}];", used),
        "POINT_TO_OPERANDS": _joined("auto* o{0} = operands[{0}] + b * features;", operands),
        "READ_VIEWS": _joined("const T x{0} = T(v{0}[z]) * n{0};", used),
        "VALUE": program.value(),
        "DECLARE_SUMS": _joined("T s{0} = 0;", sums),
        "SUM_REDUCTION": f"reduction(+ : {', '.join(f's{k}' for k in sums)})" if sums else "",
        "ADD_TO_SUMS": _joined("s{0} += result{0};", sums),
        "WRITE_SUMS": _joined("sums[{0} * size + b] = s{0};", sums),
        "WRITE_OPERANDS": " ".join(f"o{k}[z] = O(result{first + k});" for k in operands),
        "READ_SUM_GRADS": _joined("const T seed{0} = d_sums[{0} * size + b];", sums),
        "READ_OPERAND_GRADS": " ".join(f"const T seed{first + k} = T(o{k}[z]);" for k in operands),
        "DERIVATIVES": program.derivatives(),
        "DECLARE_DOTS": _joined("T a{0} = 0;", used),
        "DOT_REDUCTION": f"reduction(+ : {', '.join(f'a{k}' for k in used)})",
        "WRITE_DOTS": _joined("dots[{0}] = a{0};", used),
        "WRITE_GRADS": _joined("g[{0} * features + z] = d_x{0}; a{0} += d_x{0} * x{0};", used),
    }
    return source_text(["functions.hpp", "scalar.hpp"], definitions, "row_kernel.hpp", dtype)


def _joined(template: str, places: Sequence[int]) -> str:
    return " ".join(template.format(k) for k in places)


class _RowArguments(ctypes.Structure):
    """`RowArguments` of row_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("views", "operands")],
        *[(name, ctypes.c_int64) for name in ("size", "features", "normalised", "threads")],
        *[(name, ctypes.c_double) for name in ("eps", "factor")],
        *[(name, ctypes.c_void_p) for name in ("norms", "sums", "out")],
    )


class RowKernel:
    """The compiled passes of a score, for operands of one dtype."""

    def __init__(self, compiled: ctypes.CDLL, formula: RowFormula, dtype: torch.dtype):
        self._forward, self._backward = (entry_point(compiled, name) for name in ("forward", "backward"))
        self._views, self._sums = len(formula.inputs), len(formula.sums)
        self.operands = len(formula.operands)
        self.terms = formula.terms
        self.dtype = dtype

    def fits(self, views: Sequence[Tensor] | Tensor, budget: int) -> bool:
        """Returns whether the operands of all directions and their gradients may be held at once. So many copies of the
        views are always held; beyond that the budget, in bytes, decides.
        """
        copies = max(0, self.operands - 2 * self._views)
        return 2 * copies * views[0].numel() * self.dtype.itemsize <= budget

    def forward(self, views: Sequence[Tensor], eps: float, normalised: bool, operands: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the norms (n, B) and the sums (s, B), float64, of n views (B, F), float32 and contiguous; writes the
        operands (m, B, F). Raises ValueError where a tensor has another shape, dtype or layout.
        """
        (size, features), threads = views[0].shape, torch.get_num_threads()
        shape = size, features
        norms, sums = (
            torch.empty(count, size, dtype=torch.float64, device="cpu") for count in (self._views, self._sums)
        )
        read = addresses(views, self._views, shape, torch.float32)
        written = addresses(operands.unbind(), self.operands, shape, self.dtype)
        arrays, results = map(ctypes.addressof, (read, written)), (norms.data_ptr(), sums.data_ptr())
        arguments = _RowArguments(*arrays, size, features, normalised, threads, eps, 1.0, *results, None)
        self._forward(ctypes.byref(arguments))
        return norms, sums

    def backward(
        self, views: Sequence[Tensor], eps: float, normalised: bool, saved: Sequence[Tensor], factor: float
    ) -> Tensor:
        """Returns the gradient with respect to the views, (n, B, F) float32, times `factor`. saved: the norms, and the
        gradients with respect to sums and operands. Raises ValueError as `forward` does.
        """
        norms, d_sums, *d_operands = saved
        (size, features), threads = views[0].shape, torch.get_num_threads()
        shape = size, features
        out = torch.empty(self._views, *shape, dtype=torch.float32, device="cpu")
        arrays = (
            addresses(views, self._views, shape, torch.float32),
            addresses(d_operands, self.operands, shape, self.dtype),
        )
        statistics = ((norms, self._views), (d_sums, self._sums))
        results = [address(statistic, (count, size), torch.float64) for statistic, count in statistics]
        pointers = map(ctypes.addressof, arrays)
        arguments = _RowArguments(*pointers, size, features, normalised, threads, eps, factor, *results, out.data_ptr())
        self._backward(ctypes.byref(arguments))
        return out


@cached_by_object
def row_kernel(score: RowSumScore, n: int, dtype: torch.dtype) -> RowKernel | None:
    """Returns the passes of a score of n views for operands of float32 or float64; None where they cannot be
    compiled.
    """
    formula = row_formula(score, n)
    compiled = library(row_source(formula, dtype))
    return RowKernel(compiled, formula, dtype) if compiled is not None else None
