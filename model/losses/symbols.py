"""Symbols, with which a formula can be called instead of tensors, so that its C++ can be generated.

A formula stands once, in Python. Called with tensors it computes; called with symbols it returns an expression, from
which `compiled.program` writes C++ for the value and the derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

Number = int | float


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value in a formula: an input, a constant, or an operation on other symbols.

    `data`: the name of an input, the number of a constant, or the numbers of an operation (exponent, factor, bounds).
    """

    operation: str
    arguments: tuple[Symbol, ...] = ()
    data: tuple[str | Number, ...] = ()

    def __add__(self, other: Symbol | Number) -> Symbol:
        return Symbol("add", (self, constant(other)))

    def __mul__(self, other: Symbol | Number) -> Symbol:
        if not isinstance(other, Symbol):
            return Symbol("scale", (self,), (other,))
        return self**2 if other is self else Symbol("mul", (self, other))

    def __sub__(self, other: Symbol | Number) -> Symbol:
        return Symbol("sub", (self, constant(other)))

    def __rsub__(self, other: Number) -> Symbol:
        return constant(other) - self

    def __truediv__(self, other: Symbol | Number) -> Symbol:
        return Symbol("div", (self, other)) if isinstance(other, Symbol) else self * (1 / other)

    def __pow__(self, exponent: int) -> Symbol:
        """Returns the power for an exponent of 1 or more."""
        return Symbol("raise", (self,), (exponent,)) if exponent > 1 else self

    __radd__ = __add__
    __rmul__ = __mul__

    def clamp(self, low: Number, high: Number = float("inf")) -> Symbol:
        """Returns what torch.clamp does, with derivative 1 on the bounds."""
        return Symbol("clamp", (self,), (low, high))

    def abs(self) -> Symbol:
        """Returns what torch.abs does, with derivative 0 at 0."""
        return Symbol("abs", (self,))

    def safe_sqrt(self) -> Symbol:
        """Returns what numerics.safe_sqrt does."""
        return Symbol("sqrt", (self,))

    def safe_power(self, exponent: float) -> Symbol:
        """Returns what numerics.safe_power does."""
        return Symbol("power", (self,), (exponent,))


def constant(value: Symbol | Number) -> Symbol:
    """Returns a number as a symbol, and a symbol as it is."""
    return value if isinstance(value, Symbol) else Symbol("constant", (), (float(value),))


def input_symbol(name: str) -> Symbol:
    """Returns an input, which the C++ calls `name`."""
    return Symbol("input", (), (name,))
