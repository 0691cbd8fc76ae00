"""Formulas as symbols: a formula that is called with symbols instead of tensors yields C++ for its value and its
derivatives.

So a formula stands once, in Python, and still runs in one pass over a tile where a C++ compiler is present.
"""

from __future__ import annotations

from dataclasses import dataclass

Number = int | float


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value in a formula: an input, a constant, or an operation on other symbols."""

    operation: str
    arguments: tuple[Symbol, ...] = ()
    data: tuple[object, ...] = ()

    def __add__(self, other: Symbol | Number) -> Symbol:
        return Symbol("add", (self, lift(other)))

    def __mul__(self, other: Symbol | Number) -> Symbol:
        if not isinstance(other, Symbol):
            return Symbol("scale", (self,), (other,))
        return self**2 if other is self else Symbol("mul", (self, other))

    def __sub__(self, other: Symbol | Number) -> Symbol:
        return Symbol("sub", (self, lift(other)))

    def __rsub__(self, other: Number) -> Symbol:
        return lift(other) - self

    def __truediv__(self, other: Symbol | Number) -> Symbol:
        return Symbol("div", (self, lift(other))) if isinstance(other, Symbol) else self * (1 / other)

    def __pow__(self, exponent: int) -> Symbol:
        """For a positive exponent."""
        return Symbol("raise", (self,), (exponent,)) if exponent > 1 else self

    __radd__ = __add__
    __rmul__ = __mul__

    def clamp(self, low: Number, high: Number = float("inf")) -> Symbol:
        """As torch.clamp, with derivative 1 on the bounds."""
        return Symbol("clamp", (self,), (low, high))

    def abs(self) -> Symbol:
        """As torch.abs, with derivative 0 at 0."""
        return Symbol("abs", (self,))

    def safe_sqrt(self) -> Symbol:
        """As numerics.safe_sqrt."""
        return Symbol("sqrt", (self,))

    def safe_power(self, exponent: float) -> Symbol:
        """As numerics.safe_power."""
        return Symbol("power", (self,), (exponent,))


def lift(value: Symbol | Number) -> Symbol:
    """A number as a constant."""
    return value if isinstance(value, Symbol) else Symbol("constant", (), (float(value),))


def named(name: str) -> Symbol:
    """An input, written as `name` in C++."""
    return Symbol("input", (), (name,))
