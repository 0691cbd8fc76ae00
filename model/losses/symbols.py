"""Symbols: a formula can be called with them instead of tensors, so that its C++ can be generated.

A formula is written once, in Python. Called with tensors, it computes; called with symbols, it returns an expression,
from which `compiled.program` writes C++ for the value and the derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

Number = int | float
ACCEPTED = "+, -, *, /, ** with an integer of 1 or more, abs, clamp, safe_sqrt, safe_power of model/losses/numerics.py"


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value in a formula: an input, a constant, or an operation on other symbols.

    `data`: the name of an input, the number of a constant, or the numbers of an operation (exponent, factor, bounds).
    Raises TypeError for an operation that has no C++: a formula must not have one value in torch and another in C++.
    """

    operation: str
    arguments: tuple[Symbol, ...] = ()
    data: tuple[str | Number, ...] = ()

    def __add__(self, other: Symbol | Number) -> Symbol:
        return Symbol("add", (self, constant(other)))

    def __mul__(self, other: Symbol | Number) -> Symbol:
        if not isinstance(other, Symbol):
            return Symbol("scale", (self,), constant(other).data)
        return self**2 if other is self else Symbol("mul", (self, other))

    def __sub__(self, other: Symbol | Number) -> Symbol:
        return Symbol("sub", (self, constant(other)))

    def __rsub__(self, other: Number) -> Symbol:
        return constant(other) - self

    def __neg__(self) -> Symbol:
        return self * -1

    def __truediv__(self, other: Symbol | Number) -> Symbol:
        return Symbol("div", (self, other)) if isinstance(other, Symbol) else self * (1 / other)

    def __rtruediv__(self, other: Number) -> Symbol:
        return constant(other) / self

    def __pow__(self, exponent: int) -> Symbol:
        if not isinstance(exponent, int) or exponent < 1:
            refuse(f"a power of {exponent!r}")
        return Symbol("raise", (self,), (exponent,)) if exponent > 1 else self

    __radd__ = __add__
    __rmul__ = __mul__

    def clamp(self, min: Number = float("-inf"), max: Number = float("inf")) -> Symbol:
        """Returns what torch.clamp does, with derivative 1 on the bounds."""
        return Symbol("clamp", (self,), (min, max))

    def abs(self) -> Symbol:
        """Returns what torch.abs does, with derivative 0 at 0."""
        return Symbol("abs", (self,))

    __abs__ = abs

    def safe_sqrt(self) -> Symbol:
        """Returns what numerics.safe_sqrt does."""
        return Symbol("sqrt", (self,))

    def safe_power(self, exponent: float) -> Symbol:
        """Returns what numerics.safe_power does."""
        return Symbol("power", (self,), (exponent,))

    if not TYPE_CHECKING:  # a type checker refuses unknown attributes itself

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__"):  # of Python's protocols, such as copying
                raise AttributeError(name)
            refuse(f".{name}")

    @classmethod
    def __torch_function__(cls, function: Any, *_: object) -> NoReturn:
        refuse(f"torch.{function.__name__}")


def refuse(operation: str) -> NoReturn:
    """Raises TypeError for an operation of a formula that has no C++."""
    raise TypeError(f"a formula uses {operation}, which cannot be compiled; accepted: {ACCEPTED}")


def constant(value: Symbol | Number) -> Symbol:
    """Returns a number as a symbol, and a symbol as it is. Raises TypeError for anything else."""
    if isinstance(value, Symbol):
        return value
    if not isinstance(value, Number):
        refuse(f"a {type(value).__name__} as a constant")
    return Symbol("constant", (), (float(value),))


def input_symbol(name: str) -> Symbol:
    """Returns an input, which the C++ calls `name`."""
    return Symbol("input", (), (name,))


def in_order(results: Iterable[Symbol]) -> list[Symbol]:
    """Returns the results and every symbol that they depend on, once each, a symbol after its arguments."""
    order: dict[Symbol, None] = {}

    def visit(symbol: Symbol) -> None:
        if symbol not in order:
            for argument in symbol.arguments:
                visit(argument)
            order[symbol] = None

    for result in results:
        visit(result)
    return list(order)
