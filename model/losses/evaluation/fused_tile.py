"""Tiles of line scores in one function of torch.compile for all directions of a tile.

Shapes: n views, B rows, D directions, S directions of a tile, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import Tile
from model.losses.evaluation.tiles import LineProblem, Sums
from model.losses.inductor.compile import CompiledFunction
from model.losses.inductor.line_function import Counts, LineInputs, line_function
from model.losses.score import RowStats, Score
from model.losses.symbols import constant


def fused_tile(problem: LineProblem, tile: Tile, sums: Sums) -> None:
    """Computes a tile in few kernels and without waiting for the device."""
    stats, device = problem.stats, problem.stats.matched.device
    counts = Counts(len(tile.cells[0]), stats.row.shape[1], stats.col.shape[1])
    function = _line_function(problem.score, problem.n, problem.features, counts, problem.need_grad)
    results = function(*_cells(tile), *_inputs(problem, tile))
    sums.totals += results[0].flatten(1).sum(1)
    if not problem.need_grad:
        return
    _, d_matched, d_row, d_col, *d_cells = results
    directions = _places(tuple(tile.directions), device)
    for total, part in zip(sums.d_stats[:2], (d_matched, d_row), strict=True):
        if part.numel():
            total[..., tile.rows].index_add_(0, directions, part)
    if d_col.numel():
        sums.d_stats.col.index_add_(0, directions, d_col)
    for s, cells in enumerate(tile.cells):
        for x, grad in zip(cells, d_cells, strict=True):
            x.write_grad(grad[s])


def _cells(tile: Tile) -> Sequence[Tensor]:
    """Returns the cells of each cross term, (S, T, B)."""
    if len(tile.cells) == 1 and not any(x.turned_count for x in tile.cells[0]):
        return [x.values.unsqueeze(0) for x in tile.cells[0]]
    by_term = [cells[k].by_row() for k in range(len(tile.cells[0])) for cells in tile.cells]
    return torch.stack(by_term).unflatten(0, (-1, len(tile.cells))).unbind()


def _inputs(problem: LineProblem, tile: Tile) -> LineInputs:
    device, directions = problem.stats.matched.device, tuple(tile.directions)
    places = _places(range(problem.size), device)
    stats = problem.stats
    if directions != tuple(range(len(stats.matched))):
        stats = RowStats(*(x.index_select(0, _places(directions, device)) for x in stats))
    matched, row = (x[..., tile.rows].contiguous() for x in stats[:2])
    scales = problem.negative_scale, problem.match_scale
    return LineInputs(matched, row, stats.col, places[tile.rows], places, _weights(tuple(tile.weights), device), *scales)


@cached_by_object
def _line_function(score: Score, n: int, features: int, counts: Counts, need_grad: bool) -> CompiledFunction:
    """Returns the function of a score of n views of so many features."""
    return line_function(lambda *groups: score.line(*groups, n, constant(features)), counts, need_grad)


@lru_cache(maxsize=256)
def _places(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Returns numbers on a device, copied there once."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)


@lru_cache(maxsize=256)
def _weights(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """Returns the weights of directions on a device, copied there once."""
    with torch.inference_mode(False):
        return torch.tensor(weights, dtype=torch.float64, device=device)
