"""Integrands: functions of one feature of the operands of row i (v, u) and of candidate c (w, y), which are summed over
features.

They are called with tensors or with symbols, and therefore consist of operators, integer powers, `abs` and
`numerics.safe_sqrt`. Each radicand must be positive: the caller adds `numerics.tiny` to v.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from model.losses.numerics import Value, safe_sqrt

# (row operands …, candidate operands …) -> the value for each feature; all tensors, or all symbols.
Integrand = Callable[..., Any]


def root_sum(v: Value, w: Value) -> Value:
    """Returns sqrt(v + w)."""
    return safe_sqrt(v + w)


def root_distance(v: Value, u: Value, y: Value) -> Value:
    """Returns sqrt(v + (y - u)^2)."""
    t = y - u
    return safe_sqrt(v + t * t)


def squared_distance(v: Value, u: Value, y: Value) -> Value:
    """Returns (v + (y - u)^2)^2."""
    t = y - u
    square = v + t * t
    return square * square


def root_less_distance(v: Value, u: Value, w: Value, y: Value) -> Value:
    """Returns sqrt(v + w) - |y - u| / 4; the derivative of |.| at 0 is 0. The compiled derivative of a root has a
    factor of 1/4 too, so the division costs nothing.
    """
    return safe_sqrt(v + w) - (y - u).abs() / 4


@cache
def power(exponent: int) -> Integrand:
    """Returns the function (y - u)^exponent; the same object for the same exponent, so that it is compiled once."""
    return lambda u, y: (y - u) ** exponent
