"""The value and the derivatives of a formula of symbols as tensor operations, without autograd.

The results are functions of tensors only, so that torch.compile can fuse a formula with what is computed around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from model.losses.symbols import Symbol, in_order

# By symbol: a tensor, or a number for a constant.
Values = dict[Symbol, Any]


def _root(x: Tensor) -> Tensor:
    return x.clamp(min=0).sqrt()


def _divided_where(condition: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns numerator / denominator where the condition holds, and 0 elsewhere."""
    return torch.where(condition, numerator / torch.where(condition, denominator, 1), 0)


# Operation -> its value, and, for each argument, the gradient with respect to that argument. a and b are the arguments,
# data the numbers of the operation, t the value, d the gradient with respect to it.
VALUES: Mapping[str, Callable[..., Tensor]] = {
    "add": lambda data, a, b: a + b,
    "sub": lambda data, a, b: a - b,
    "mul": lambda data, a, b: a * b,
    "div": lambda data, a, b: a / b,
    "clamp": lambda data, a: a.clamp(*data),
    "abs": lambda data, a: a.abs(),
    "raise": lambda data, a: _raised(a, data[0]),
    "scale": lambda data, a: a * data[0],
    "sqrt": lambda data, a: _root(a),
    "power": lambda data, a: a.abs() ** data[0],
}
GRADIENTS: Mapping[str, Sequence[Callable[..., Tensor]]] = {
    "add": [lambda data, d, t, a, b: d] * 2,
    "sub": [lambda data, d, t, a, b: d, lambda data, d, t, a, b: -d],
    "mul": [lambda data, d, t, a, b: d * b, lambda data, d, t, a, b: d * a],
    "div": [lambda data, d, t, a, b: d / b, lambda data, d, t, a, b: -d * t / b],
    "clamp": [lambda data, d, t, a: torch.where((a < data[0]) | (a > data[1]), 0, d)],
    "abs": [lambda data, d, t, a: d * a.sign()],
    "raise": [lambda data, d, t, a: d * (data[0] * _raised(a, data[0] - 1))],
    "scale": [lambda data, d, t, a: d * data[0]],
    "sqrt": [lambda data, d, t, a: _divided_where(t > 0, d, 2 * t)],
    "power": [lambda data, d, t, a: _divided_where(a != 0, d * data[0] * t, a)],
}


def _raised(a: Tensor, exponent: int) -> Tensor:
    """Returns a to the power `exponent`, at least 1, in multiplications only."""
    if exponent == 1:
        return a
    half = _raised(a, exponent // 2)
    return half * half * a if exponent % 2 else half * half


def forward(results: Sequence[Symbol], inputs: Mapping[Symbol, Tensor]) -> Values:
    """Returns the values of the results and of everything that they depend on. inputs: tensors that broadcast."""
    values: Values = dict(inputs)
    for symbol in in_order(results):
        if symbol.operation == "constant":
            values[symbol] = _number(symbol)
        elif symbol.operation != "input":
            values[symbol] = VALUES[symbol.operation](symbol.data, *(values[a] for a in symbol.arguments))
    return values


def backward(seeds: Mapping[Symbol, Tensor], values: Values) -> dict[Symbol, Tensor]:
    """Returns the gradient with respect to each symbol on which the results depend, inputs included.

    seeds: the gradient with respect to each result; values: what `forward` returned. A gradient has the shape to which
    seed and values broadcast: the caller sums it over the dimensions in which an input is broadcast.
    """
    totals = dict(seeds)
    for symbol in reversed(in_order(list(seeds))):
        if symbol not in totals:
            continue
        for argument, gradient in zip(symbol.arguments, GRADIENTS.get(symbol.operation, ()), strict=True):
            if argument.operation == "constant":
                continue
            operands = (values[a] for a in symbol.arguments)
            term = gradient(symbol.data, totals[symbol], values[symbol], *operands)
            totals[argument] = totals[argument] + term if argument in totals else term
    return totals


def _number(symbol: Symbol) -> float:
    (value,) = symbol.data
    return float(value)
