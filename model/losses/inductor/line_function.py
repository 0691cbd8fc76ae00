"""A tile of line scores as one function of tensors: formula, cross-entropy against the match, gradients of both.

Shapes: S directions of a tile, T rows, B candidates, r statistics of a row, q statistics of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.inductor.compile import CompiledFunction, recorded
from model.losses.inductor.tensor_program import Values, backward, forward
from model.losses.symbols import Symbol, input_symbol

# (cells, statistics of the row, statistics of the candidate) -> score.
Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol]], Symbol]


class Counts(NamedTuple):
    """The numbers of cross terms, statistics of a row and statistics of a candidate of a formula."""

    cells: int
    row: int
    col: int


class LineInputs(NamedTuple):
    """What a tile is computed from, after its cells, contiguous. All but the places are float64."""

    matched: Tensor
    """(S, T) scores of the matches."""
    row: Tensor
    """(S, r, T)"""
    col: Tensor
    """(S, q, B)"""
    row_places: Tensor
    """(T,) the candidate that matches each row."""
    col_places: Tensor
    """(B,) 0 … B - 1."""
    weight: Tensor
    """(S,)"""
    negative_scale: Tensor
    match_scale: Tensor


class _Lines(NamedTuple):
    """The loss of each row and its gradients, see evaluation.contrast."""

    loss: Tensor  # (S, T)
    d_match: Tensor  # (S, T)
    d_others: Tensor  # (S, T, B)


def line_function(formula: Formula, counts: Counts, need_grad: bool) -> CompiledFunction:
    """Returns the compiled function of (cells …, *LineInputs), each cell term (S, T, B).

    It returns (3, S, T), the loss of each row and its gradients with respect to the two scales, times the weight; and,
    if `need_grad`, the gradients with respect to matched, row and col, float64, and to the cells, in their dtype. The
    formula is computed in float64, of which a fused kernel stores little.
    """
    cells, row, col = ([input_symbol(f"{x}{k}") for k in range(c)] for x, c in zip("grc", counts, strict=True))
    score = formula(cells, row, col)

    def tile(*tensors: Tensor) -> Sequence[Tensor]:
        values, given = tensors[: counts.cells], LineInputs(*tensors[counts.cells :])
        inputs: Values = {symbol: x.double() for symbol, x in zip(cells, values, strict=True)}
        inputs |= {symbol: given.row[:, k].unsqueeze(2) for k, symbol in enumerate(row)}
        inputs |= {symbol: given.col[:, k].unsqueeze(1) for k, symbol in enumerate(col)}
        known = forward([score], inputs)
        scores = known[score]
        lines, weight = _contrasted(scores, given), given.weight.unsqueeze(1)
        d_negative_scale = (lines.d_others * scores).sum(2)
        rows = torch.stack([lines.loss * weight, d_negative_scale * weight, lines.d_match * given.matched * weight])
        if not need_grad:
            return (rows,)
        totals = backward({score: lines.d_others * (weight * given.negative_scale).unsqueeze(2)}, known)
        none = 0 * lines.d_others
        # The gradient of statistics that the score does not read is a sum too: one kernel computes it with the others.
        no_row, no_col = none.sum(2), none.sum(1)
        d_row = [totals[symbol].sum(2) if symbol in totals else no_row for symbol in row]
        d_col = [totals[symbol].sum(1) if symbol in totals else no_col for symbol in col]
        return [
            rows,
            lines.d_match * (weight * given.match_scale),
            torch.stack(d_row, 1) if row else torch.zeros_like(given.row),
            torch.stack(d_col, 1) if col else torch.zeros_like(given.col),
            *(
                totals[s].to(x.dtype) if s in totals else torch.zeros_like(x)
                for s, x in zip(cells, values, strict=True)
            ),
        ]

    return CompiledFunction(lambda count: recorded(tile, count), [1] * counts.cells + [1, 2, 2, 0, 0, 1, 0, 0])


def _contrasted(scores: Tensor, given: LineInputs) -> _Lines:
    """Returns what evaluation.contrast returns for scores (S, T, B), in operations without a change in place."""
    logits = scores * given.negative_scale - (given.matched * given.match_scale).unsqueeze(2)
    logits = torch.where(given.row_places.unsqueeze(1) == given.col_places, -torch.inf, logits)
    top = logits.amax(2, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    weights = (logits - top).exp()
    total = weights.sum(2, keepdim=True)
    lse = top + total.log()
    share = lse.sigmoid()
    loss = lse.clamp(min=0) + torch.log1p(torch.exp(-lse.abs()))
    d_others = weights * torch.where(total > 0, share / total, 0)
    return _Lines(loss.squeeze(2), -share.squeeze(2), d_others)
