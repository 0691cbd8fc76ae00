"""A tile of line scores as one function of tensors: formula, cross-entropy against the match, gradients of both.

Shapes: S directions of a tile, T rows, B candidates, r statistics of a row, q statistics of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.inductor.compile import CompiledFunction
from model.losses.inductor.tensor_program import backward, forward
from model.losses.symbols import Symbol, constant, input_symbol

# (cells, statistics of the row, statistics of the candidate, number of features) -> score.
Formula = Callable[[Sequence[Symbol], Sequence[Symbol], Sequence[Symbol], Symbol], Symbol]


class Counts(NamedTuple):
    """The numbers of cross terms, statistics of a row and statistics of a candidate of a formula."""

    cells: int
    row: int
    col: int


class Lines(NamedTuple):
    """Scores of lines, the gradients of their loss with respect to them, and what the loss adds to a run's sums."""

    loss: Tensor  # (S, T)
    d_match: Tensor  # (S, T) with respect to the logit of the match
    d_others: Tensor  # (S, T, B) with respect to every other logit; 0 at the match


def contrasted(logits: Tensor, matches: Tensor) -> Lines:
    """Returns what evaluation.contrast returns, in operations that fuse. logits: (S, T, B), less the logit of the match;
    matches: (T, B), True at the match.
    """
    logits = torch.where(matches, -torch.inf, logits)
    top = logits.amax(2, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    weights = (logits - top).exp()
    total = weights.sum(2, keepdim=True)
    lse = top + total.log()
    share = lse.sigmoid()
    loss = torch.where(lse > 0, lse, 0) + torch.log1p(torch.exp(-lse.abs()))
    return Lines(loss.squeeze(2), -share.squeeze(2), weights * torch.where(total > 0, share / total, 0))


def line_function(formula: Formula, counts: Counts, features: int, need_grad: bool, dtype: torch.dtype):
    """Returns the compiled function."""
    cells, row, col = ([input_symbol(f"{x}{k}") for k in range(c)] for x, c in zip("grc", counts, strict=True))
    score = formula(cells, row, col, constant(features))

    def tile(*args):
        values, (matched, row_stats, col_stats, rows, cols, weight, negative_scale, match_scale) = args[:counts.cells], args[counts.cells:]
        inputs = dict(zip(cells, [x.to(dtype) for x in values], strict=True))
        inputs |= {s: row_stats[:, k].unsqueeze(2).to(dtype) for k, s in enumerate(row)}
        inputs |= {s: col_stats[:, k].unsqueeze(1).to(dtype) for k, s in enumerate(col)}
        known = forward([score], inputs)
        scores = known[score]
        ns, ms = negative_scale.to(dtype), match_scale.to(dtype)
        match_values = matched.unsqueeze(2).to(dtype)
        matches = rows.unsqueeze(1) == cols.unsqueeze(0)
        lines = contrasted(scores * ns - match_values * ms, matches)
        w = weight.unsqueeze(1)
        loss = (w * lines.loss).sum()
        if not need_grad:
            return (loss,)
        d_ns = (w.unsqueeze(2) * (lines.d_others * scores)).sum()
        d_ms = (w * (lines.d_match * matched)).sum()
        d_matched = w * ms * lines.d_match
        grads = backward({score: lines.d_others * (w.unsqueeze(2) * ns)}, known)
        zero = torch.zeros_like(values[0])
        for x, s in zip(values, cells):
            x.copy_(grads.get(s, zero))
        d_row = torch.stack([grads[s].sum(2) if s in grads else 0*matched for s in row], 1) if row else None
        d_col = torch.stack([grads[s].sum(1) if s in grads else 0*col_stats[:,0] for s in col], 1) if col else None
        return loss, d_ns, d_ms, d_matched, *([d_row] if row else []), *([d_col] if col else [])

    static = [1] * counts.cells + [1, 2, 2, 0, 0, 1, 0, 0]
    return CompiledFunction(tile, static)
