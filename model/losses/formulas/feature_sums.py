"""The sums over features z that elementwise scores read, on matched rows, along lines and over all tuples.

Shapes: n views, B rows, F features. S = sum_k x_k, Q = sum_k x_k^2, m = sum_k |x_k| / n, V = Q - S^2 / n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Generic, NamedTuple

from model.losses.integrands import Integrand, power, root_distance, root_less_distance, root_sum, squared_distance
from model.losses.numerics import Value, moments, safe_sqrt, square_sum, tiny
from model.losses.score import others


@dataclass(frozen=True)
class SeparableSum:
    """A sum over features that is also a sum over views. `share` maps n and one feature of a view to the term of this
    view and feature; it is called with tensors of any shape, or with symbols.
    """

    share: Callable[[int, Value], Value]


class Operands(NamedTuple, Generic[Value]):
    """The operands of sum_z integrand(*rows, *cols) along a line: `rows` at row i, `cols` at candidate c, (B, F), or
    symbols for one feature.
    """

    integrand: Integrand
    rows: tuple[Value, ...]
    cols: tuple[Value, ...]


@dataclass(frozen=True)
class CrossedSum:
    """A sum over features that mixes the views.

    `values` maps n tensors that broadcast to (…, F) to the function under the sum, (…, F). `operands` maps n tensors
    (B, F) and a direction to the same function along the line, in which the view of that direction is the candidate.
    Both are called with symbols too, from which the compiled loops are generated.
    """

    values: Callable[[Sequence[Any]], Any]
    operands: Callable[[Sequence[Any], int], Operands[Any]]


def _spread(views: Sequence[Value]) -> Value:
    # V does not change when the first view is subtracted from all; nearly equal views then lose no digits.
    shifted = [view - views[0] for view in views[1:]]
    return square_sum(shifted) - square_sum([reduce(add, shifted)]) / len(views)


def _spread_operands(integrand: Integrand) -> Callable[[Sequence[Any], int], Operands[Any]]:
    """Returns the operands of V = sum_{k != d} (x_k - mean)^2 + (1 - 1/n) (x_d - mean)^2, where mean is the mean of the
    other views. No large numbers are subtracted.
    """

    def operands(views: Sequence[Value], d: int) -> Operands[Value]:
        rest, share = others(views, d), math.sqrt(1 - 1 / len(views))
        mean = reduce(add, rest) / len(rest)
        v = square_sum([x - mean for x in rest], above=tiny(mean))
        return Operands(integrand, (v, share * mean), (share * views[d],))

    return operands


def _root_square(views: Sequence[Value]) -> Value:
    return safe_sqrt(square_sum(views))


def _square_operands(views: Sequence[Value], d: int) -> Operands[Value]:
    return Operands(root_sum, (square_sum(others(views, d), above=tiny(views[d])),), (square_sum([views[d]]),))


def _root_less_total(views: Sequence[Value]) -> Value:
    total, squares = moments(views)
    return safe_sqrt(squares) - total.abs() / len(views) ** 1.5


def _less_total_operands(views: Sequence[Value], d: int) -> Operands[Value]:
    total, v = moments(others(views, d), above=tiny(views[d]))
    factor = 4 * len(views) ** -1.5
    return Operands(root_less_distance, (v, -factor * total), (square_sum([views[d]]), factor * views[d]))


def _magnitude(views: Sequence[Value]) -> Value:
    return reduce(add, [x.abs() for x in views]) / len(views)


def _power_operands(views: Sequence[Value], d: int) -> Operands[Value]:
    n = len(views)
    u = -reduce(add, [x.abs() for x in others(views, d)]) / n
    return Operands(power(n), (u,), (views[d].abs() / n,))


ROOT_SPREAD = CrossedSum(lambda x: safe_sqrt(_spread(x)), _spread_operands(root_distance))  # sum_z sqrt(V)
SQUARED_SPREAD = CrossedSum(lambda x: _spread(x) ** 2, _spread_operands(squared_distance))  # sum_z V^2
ROOT_SQUARE = CrossedSum(_root_square, _square_operands)  # sum_z sqrt(Q)
ROOT_LESS_TOTAL = CrossedSum(_root_less_total, _less_total_operands)  # sum_z [sqrt(Q) - |S| / n^1.5]
POWER = CrossedSum(lambda x: _magnitude(x) ** len(x), _power_operands)  # sum_z m^n
TOTAL = SeparableSum(lambda n, x: x)  # sum_z S
MAGNITUDE = SeparableSum(lambda n, x: x.abs() / n)  # sum_z m
