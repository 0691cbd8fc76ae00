"""Functions under a feature sum, of v (row i) and t = y (candidate c) - u (row i). Called with tensors or with symbols."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from model.losses.numerics import Value, safe_sqrt

Integrand = Callable[[Value, Value], Value]


def root(v: Value, t: Value) -> Value:
    """sqrt(v + t^2), slope 0 where that is 0."""
    return safe_sqrt(v + t * t)


def squared(v: Value, t: Value) -> Value:
    """(v + t^2)^2."""
    return (v + t * t) ** 2


def absolute(v: Value, t: Value) -> Value:
    """|t|, slope 0 where that is 0; v takes no part."""
    return t.abs()


@cache
def power(exponent: int) -> Integrand:
    """t^exponent; v takes no part. The same function for the same exponent."""
    return lambda v, t: t**exponent
