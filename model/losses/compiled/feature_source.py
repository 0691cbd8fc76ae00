"""Writes the C++ of a feature sum: the definitions of an integrand, called with symbols, for feature_kernel.hpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from model.losses.compiled.program import Program
from model.losses.compiled.source_text import source_text
from model.losses.integrands import Integrand
from model.losses.symbols import Symbol, input_symbol


def feature_source(integrand: Integrand, row_count: int, col_count: int, dtype: torch.dtype) -> str:
    """Returns the C++ of both loops for an integrand with these numbers of row and candidate operands, of float32 or
    float64.
    """
    rows, cols = (
        [input_symbol(f"{letter}{j}") for j in range(count)] for letter, count in (("r", row_count), ("c", col_count))
    )
    result = integrand(*rows, *cols)
    radicand, plain = _root_and_rest(result)
    program = Program(result, [*rows, *cols])
    derivatives, factors = program.unscaled_derivatives()
    scale = factors[cols[0]]
    definitions = {
        "FORMULA_ROWS": row_count,
        "FORMULA_COLS": col_count,
        "FORMULA_ROOTED": str(radicand is not None).lower(),
        "FORMULA_PLAIN": str(plain is not None).lower(),
        "READ_INPUTS": _inputs("row", rows) + _inputs("col", cols),
        "RADICAND": _value(radicand),
        "PLAIN_VALUE": _value(plain),
        "VALUE": program.value(),
        "DERIVATIVES": derivatives,
        "DERIVATIVE_SCALE": repr(scale),
        "ADD_GRADS": _outputs("row", rows, factors, scale) + _outputs("col", cols, factors, scale),
    }
    return source_text(["functions.hpp", "vectors.hpp"], definitions, "feature_kernel.hpp", dtype)


def _root_and_rest(result: Symbol) -> tuple[Symbol | None, Symbol | None]:
    """Returns x and plain of sqrt(x) + plain, with None for a term that the result does not have."""
    if result.operation == "sqrt":
        return result.arguments[0], None
    first, *rest = result.arguments
    if result.operation in ("add", "sub") and first.operation == "sqrt":
        return first.arguments[0], rest[0] if result.operation == "add" else rest[0] * -1
    return None, result


def _value(symbol: Symbol | None) -> str:
    return Program(symbol, []).value() if symbol is not None else "const V<T> result = {};"


def _inputs(side: str, symbols: Sequence[Symbol]) -> str:
    return "".join(f"[[maybe_unused]] const V<T> {symbol.data[0]} = {side}[{j}]; " for j, symbol in enumerate(symbols))


def _outputs(side: str, symbols: Sequence[Symbol], factors: Mapping[Symbol, float], scale: float) -> str:
    return "".join(
        _output(f"d_{side}[{j}]", f"d_{symbol.data[0]}", factors[symbol] / scale) for j, symbol in enumerate(symbols)
    )


def _output(total: str, term: str, ratio: float) -> str:
    return f"{total} {'-' if ratio < 0 else '+'}= {term}{'' if abs(ratio) == 1 else f' * T({abs(ratio)!r})'}; "
