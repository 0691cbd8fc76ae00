"""Functions under a feature sum, of numbers of row i (v, u) and of candidate c (w, y). Called with tensors or with
symbols, so made of operators, integer powers, `abs` and `numerics.safe_sqrt`.

A radicand is positive: whoever makes v keeps it above 0, see `numerics.tiny`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from model.losses.numerics import Value, safe_sqrt

Integrand = Callable[..., Value]


def root_sum(v: Value, w: Value) -> Value:
    """sqrt(v + w)."""
    return safe_sqrt(v + w)


def root_distance(v: Value, u: Value, y: Value) -> Value:
    """sqrt(v + (y - u)^2)."""
    t = y - u
    return safe_sqrt(v + t * t)


def squared_distance(v: Value, u: Value, y: Value) -> Value:
    """(v + (y - u)^2)^2."""
    t = y - u
    square = v + t * t
    return square * square


def root_less_distance(v: Value, u: Value, w: Value, y: Value) -> Value:
    """sqrt(v + w) - |y - u| / 4, slope of |.| 0 at 0. The quarter is also in the slope of a root, so it costs
    nothing.
    """
    return safe_sqrt(v + w) - (y - u).abs() / 4


@cache
def power(exponent: int) -> Integrand:
    """(y - u)^exponent. The same function for the same exponent."""
    return lambda u, y: (y - u) ** exponent
