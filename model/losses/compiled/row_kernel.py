"""The row-wise part of a loss in two compiled passes over the views: forward to normalised operands and sums over
features, and backward.

The formula is the score's own `row_sums` and `cross_terms`, called with symbols; the loops are in row_kernel.hpp. The
views are read once, and nothing of their size is held in float64. Shapes: n views, B rows, F features, s sums, m
operands.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.native import ROUNDED, library
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
        """Returns whether the operands of all directions and their gradients may be held at once. Two operands for each
        view always may; further ones must fit the budget, in bytes.
        """
        copies = max(0, self.operands - 2 * self._views)
        return 2 * copies * views[0].numel() * self.dtype.itemsize <= budget

    def forward(self, views: Sequence[Tensor], eps: float, normalised: bool, operands: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the norms (n, B) and the sums (s, B), float64, of n views (B, F), float32 and contiguous; writes the
        operands (m, B, F). Raises ValueError where a tensor has another shape, dtype or layout.
        """
        norms, sums = self.new_statistics(len(views[0]))
        self.bind_forward(norms, sums, operands, eps, normalised)(views)
        return norms, sums

    def new_statistics(self, size: int) -> tuple[Tensor, Tensor]:
        """Returns memory for norms (n, B) and sums (s, B)."""
        norms, sums = (
            torch.empty(count, size, dtype=torch.float64, device="cpu") for count in (self._views, self._sums)
        )
        return norms, sums

    def bind_forward(self, norms: Tensor, sums: Tensor, operands: Tensor, eps: float, normalised: bool) -> RowCall:
        """Returns `forward` as a function of the views alone, which writes to this memory."""
        return self._bind(self._forward, (norms, sums), operands.unbind(), None, normalised, eps, 1.0)

    def backward(
        self, views: Sequence[Tensor], eps: float, normalised: bool, saved: Sequence[Tensor], factor: float
    ) -> Tensor:
        """Returns the gradient with respect to the views, (n, B, F) float32, times `factor`. saved: the norms, and the
        gradients with respect to sums and operands. Raises ValueError as `forward` does.
        """
        norms, d_sums, *d_operands = saved
        out = torch.empty(self._views, *views[0].shape, dtype=torch.float32, device="cpu")
        self.bind_backward((norms, d_sums), d_operands, out, eps, normalised, factor)(views)
        return out

    def bind_backward(
        self,
        statistics: tuple[Tensor, Tensor],
        d_operands: Sequence[Tensor],
        out: Tensor,
        eps: float,
        normalised: bool,
        factor: float = 1.0,
    ) -> RowCall:
        """Returns `backward` as a function of the views alone, which reads and writes this memory. statistics: norms
        and gradients with respect to sums; out: (n, B, F).
        """
        return self._bind(self._backward, statistics, d_operands, out, normalised, eps, factor)

    def _bind(
        self,
        function: Callable[..., None],
        statistics: tuple[Tensor, Tensor],
        operands: Sequence[Tensor],
        out: Tensor | None,
        normalised: bool,
        eps: float,
        factor: float,
    ) -> RowCall:
        """Returns a pass with checked memory."""
        size, features = operands[0].shape
        counts = self._views, self._sums
        pointers = [address(x, (k, size), torch.float64) for x, k in zip(statistics, counts, strict=True)]
        written = None if out is None else address(out, (self._views, size, features), torch.float32)
        places = addresses(operands, self.operands, (size, features), self.dtype)
        views = (ctypes.c_void_p * self._views)()
        arrays = map(ctypes.addressof, (views, places))
        arguments = _RowArguments(*arrays, size, features, normalised, 1, eps, factor, *pointers, written)
        return RowCall(function, arguments, views, (size, features), (places, *statistics, *operands, out))


class RowCall:
    """A pass over the views with the memory that it reads and writes besides them."""

    def __init__(
        self,
        function: Callable[..., None],
        arguments: _RowArguments,
        views: ctypes.Array,
        shape: tuple[int, int],
        keep: object,
    ) -> None:
        """arguments: refers to `views`, an array for the addresses of the views, each of `shape`, and to the memory of
        `keep`.
        """
        self._function, self._arguments, self._views, self._shape, self._keep = function, arguments, views, shape, keep

    def __call__(self, views: Sequence[Tensor]) -> None:
        """Runs the pass over n views (B, F), float32 and contiguous. Raises ValueError for others."""
        if len(views) != len(self._views):
            raise ValueError(f"native code was given {len(views)} tensors; accepted: {len(self._views)}")
        for k, view in enumerate(views):
            self._views[k] = address(view, self._shape, torch.float32)
        self._arguments.threads = torch.get_num_threads()
        self._function(ctypes.byref(self._arguments))


@cached_by_object
def row_kernel(score: RowSumScore, n: int, dtype: torch.dtype) -> RowKernel | None:
    """Returns the passes of a score of n views for operands of float32 or float64; None where they cannot be
    compiled.
    """
    formula = row_formula(score, n)
    compiled = library(row_source(formula, dtype), ROUNDED)
    return RowKernel(compiled, formula, dtype) if compiled is not None else None
