"""The row-wise part of a loss as functions of tensors: forward to statistics and operands, and backward to the views.

Both are recorded from the score's own methods, backward through autograd. Shapes: n views, B rows, F features, m
operands; statistics are those of `RowStats`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from model.losses.cross_terms import CrossTerm, SymbolicTerm
from model.losses.inductor.compile import CompiledFunction
from model.losses.numerics import result_dtype, saturate, to_float64
from model.losses.score import RowStats, Score

# Views (n, B, F) of any dtype -> normalised rows (n, B, F) float64, and their statistics.
Prepare = Callable[[Tensor], tuple[Tensor, RowStats]]
# Rows and features of the views with which the functions are recorded: numbers that no other dimension has.
EXAMPLE = (61, 97)


class RowFunctions(NamedTuple):
    """The compiled functions of a score of n views."""

    forward: CompiledFunction
    """(views) -> (*statistics, operands (m, B, F))"""
    backward: CompiledFunction
    """(views, gradients of the statistics, gradients of the operands (m, B, F)) -> the gradient of the views
    (n, B, F), float64 for float64 views and float32 otherwise, saturated at the largest finite value."""
    directions: list[list[SymbolicTerm]]
    """The cross terms of each direction, of other operands."""
    places: list[list[list[int]]]
    """For each of these terms, the places of its operands among the m operands."""

    def cross_terms(self, operands: Sequence[Tensor]) -> list[list[SymbolicTerm]]:
        """Returns the cross terms of each direction."""
        return [
            [term.of([operands[k] for k in at]) for term, at in zip(terms, places, strict=True)]
            for terms, places in zip(self.directions, self.places, strict=True)
        ]


@torch.inference_mode(False)
def row_functions(score: Score, prepare: Prepare, example: Tensor, dtype: torch.dtype) -> RowFunctions:
    """Returns the functions for views with the number, the dtype and the device of `example` (n, …). dtype: that of the
    operands. They are recorded outside inference mode, in which no gradient can be recorded.
    """
    ones = [torch.ones(1, 1, device=example.device) for _ in example]
    directions = [[term for term in terms if isinstance(term, SymbolicTerm)] for terms in score.cross_terms(ones)]
    places = _places(_distinct(directions, ones), directions)

    def rows_of(views: Tensor) -> list[Tensor]:
        rows, stats = prepare(views)
        rows = rows.to(dtype)
        leaves = list(rows.unbind())
        operands = _distinct(list(score.cross_terms(leaves)), leaves)
        return [*stats, rows if operands is leaves else torch.stack(operands)]

    def forward(views: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [x.contiguous() for x in rows_of(views)]

    def backward(views: Tensor, *grads: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            leaf = to_float64(views.detach()).to(result_dtype(views)).requires_grad_()
            pairs = [(x, grad) for x, grad in zip(rows_of(leaf), grads, strict=True) if x.requires_grad]
        outputs, seeds = zip(*pairs, strict=True)
        return [saturate(torch.autograd.grad(outputs, leaf, seeds)[0], leaf.dtype)]

    views = torch.ones(len(example), *EXAMPLE, dtype=example.dtype, device=example.device)
    grads = forward(views)
    return RowFunctions(
        CompiledFunction(_recorder(forward, [views]), [1]),
        CompiledFunction(_recorder(backward, [views, *grads]), [1, 1, 2, 2, 1]),
        directions,
        places,
    )


def _distinct(directions: Sequence[Sequence[CrossTerm]], leaves: list[Tensor]) -> list[Tensor]:
    """Returns the operands of all terms, each once: the list `leaves` itself where they are the operands."""
    operands = {id(x): x for terms in directions for term in terms for x in term.operands}
    return leaves if operands.keys() == {id(x) for x in leaves} else list(operands.values())


def _places(operands: Sequence[Tensor], directions: Sequence[Sequence[CrossTerm]]) -> list[list[list[int]]]:
    """Returns for each term the places of its operands among all operands."""
    place = {id(x): k for k, x in enumerate(operands)}
    return [[[place[id(x)] for x in term.operands] for term in terms] for terms in directions]


def _recorder(function: Callable[..., list[Tensor]], examples: Sequence[Tensor]) -> Callable[[int], fx.GraphModule]:
    """Returns a function that returns new modules of the operations of `function`, for tensors of any size."""
    module: fx.GraphModule = make_fx(function, tracing_mode="symbolic")(*examples)
    return lambda count: fx.GraphModule(module, module.graph)
