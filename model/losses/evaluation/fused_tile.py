"""Tiles of line scores in one function of torch.compile for all directions of a tile.

Shapes: n views, B rows, D directions, S directions of a tile, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import Cells, Tile
from model.losses.evaluation.tiles import LineProblem, Sums
from model.losses.inductor.compile import CompiledFunction
from model.losses.inductor.line_function import Counts, LineInputs, line_function
from model.losses.score import Score
from model.losses.symbols import constant

# A total, and what is added to it.
Sum = tuple[Tensor, Tensor]


def fused_tile(problem: LineProblem, tile: Tile, sums: Sums) -> None:
    """Computes a tile in few kernels and without waiting for the device."""
    stats = problem.stats
    counts = Counts(len(tile.cells[0]), stats.row.shape[1], stats.col.shape[1])
    function = _line_function(problem.score, problem.n, problem.features, counts, problem.need_grad)
    results = function(*_cells(tile), *_inputs(problem, tile))
    totals = results[0].flatten(1).sum(1)
    if not problem.need_grad:
        sums.totals += totals
        return
    d_matched, d_row, d_col = results[1:4]
    d_stats, rows = sums.d_stats, tile.rows
    parts = [(d_stats.matched[:, rows], d_matched), (d_stats.row[..., rows], d_row), (d_stats.col, d_col)]
    _add([(sums.totals, totals)], [(total, part) for total, part in parts if part.numel()], tile.directions)
    _write_gradients(tile, results[4:])


def _cells(tile: Tile) -> Sequence[Tensor]:
    """Returns the cells of each cross term, (S, T, B)."""
    if len(tile.cells) == 1 and not any(x.turned_count for x in tile.cells[0]):
        return [x.values.unsqueeze(0) for x in tile.cells[0]]
    by_term = [_by_row(cells[k]) for k in range(len(tile.cells[0])) for cells in tile.cells]
    return torch.stack(by_term).unflatten(0, (-1, len(tile.cells))).unbind()


def _by_row(cells: Cells) -> Tensor:
    """Returns the values (T, B), without a copy where all or none are turned."""
    if cells.turned is not None and not cells.values.numel():
        return cells.turned.T
    return cells.by_row()


def _write_gradients(tile: Tile, d_cells: Sequence[Tensor]) -> None:
    """Writes the gradients of the cells, for each cross term (S, T, B), to their memory: whole cells in one copy."""
    pairs = [(x, d_cells[k][s]) for s, cells in enumerate(tile.cells) for k, x in enumerate(cells)]
    whole = [(x.grad, grad) for x, grad in pairs if not x.turned_count]
    if whole:
        torch._foreach_copy_([memory for memory, _ in whole], [grad for _, grad in whole])
    for x, grad in pairs:
        if x.turned_grad is not None:
            x.turned_grad.add_(grad[:, : x.turned_count].T)
            if x.grad.numel():
                x.grad.copy_(grad[:, x.turned_count :])


def _inputs(problem: LineProblem, tile: Tile) -> LineInputs:
    """Returns what the function of a tile reads after the cells."""
    device = problem.stats.matched.device
    places = _candidates(problem.size, device)
    matched, row, col = (_of_directions(x, tile.directions) for x in problem.stats)
    matched, row = (x[..., tile.rows].contiguous() for x in (matched, row))
    weights = _weights(tuple(tile.weights), device)
    return LineInputs(
        matched, row, col, places[tile.rows], places, weights, problem.negative_scale, problem.match_scale
    )


def _of_directions(x: Tensor, directions: Sequence[int]) -> Tensor:
    """Returns the statistics (S, …) of some of D directions, without a copy where the directions follow each other."""
    span = _span(directions)
    if not x.numel():
        return x.new_empty(len(directions), *x.shape[1:])
    return x.index_select(0, _places(tuple(directions), x.device)) if span is None else x[span]


def _add(whole: Sequence[Sum], by_direction: Sequence[Sum], directions: Sequence[int]) -> None:
    """Adds second tensors to first tensors: of one shape, or (S, …) to some directions of (D, …)."""
    span = _span(directions)
    if span is None:
        for total, part in by_direction:
            total.index_add_(0, _places(tuple(directions), total.device), part)
        sums = list(whole)
    else:
        sums = [*whole, *((total[span], part) for total, part in by_direction)]
    torch._foreach_add_([total for total, _ in sums], [part for _, part in sums])


def _span(directions: Sequence[int]) -> slice | None:
    """Returns the slice of directions that follow each other; None for others."""
    follow = list(directions) == list(range(directions[0], directions[0] + len(directions)))
    return slice(directions[0], directions[0] + len(directions)) if follow else None


@cached_by_object
def _line_function(score: Score, n: int, features: int, counts: Counts, need_grad: bool) -> CompiledFunction:
    """Returns the function of a score of n views of so many features."""
    return line_function(lambda cells, row, col: score.line(cells, row, col, n, constant(features)), counts, need_grad)


@lru_cache(maxsize=16)
def _candidates(size: int, device: torch.device) -> Tensor:
    """Returns 0 … B - 1 on a device."""
    with torch.inference_mode(False):
        return torch.arange(size, device=device)


@lru_cache(maxsize=256)
def _places(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Returns numbers on a device, copied there once."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)


@lru_cache(maxsize=256)
def _weights(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """Returns the weights of directions on a device, copied there once."""
    with torch.inference_mode(False):
        return torch.tensor(weights, dtype=torch.float64, device=device)
