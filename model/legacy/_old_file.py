"""The two old loss files: their differences, and the functions that their get_loss_fn returned."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from model.config.old_flags import WITHOUT_SCALING
from model.errors import one_of
from model.legacy._figures import Mean, as_score, figure, total
from model.losses.inputs import check_views, stacked
from model.losses.numerics import normalise, result_dtype, widen

# The loss that never scales rows to length 1. The original raised an error for it.
NEVER_SCALED = "normsv9"


def unit_rows(view: Tensor, eps: float) -> Tensor:
    """Returns x / (|x| + eps) along the last axis, in float64; a zero row stays zero and has gradient zero."""
    # With an eps of 0 a zero row would be divided by 0. The smallest normal float64 changes no other row.
    return normalise(widen(view), eps or sys.float_info.min)


def pairwise(*vecs: Tensor) -> Tensor:
    """Returns the inner products of every two of n views (B, F), unscaled: (B, B, n^2), [a, b, i n + j] =
    x_j[a].x_i[b].
    """
    views = stacked(check_views(vecs, None))
    wide = widen(views)
    return torch.einsum("jaf,ibf->abij", wide, wide).flatten(2).to(result_dtype(views))


@dataclass(frozen=True)
class OldFile:
    """The properties of one of the two files."""

    versions: Mapping[int, str]
    """logitsversion -> loss."""
    row_eps: float
    """Added to the length of a row before a row is divided by it."""
    eps: float
    """Added to the length of a sum of views before something is divided by it."""
    with_axis: tuple[str, ...] = ()
    """Losses whose figures have a last axis of size 1."""
    averaged: tuple[str, ...] = ()
    """Losses that are means over features instead of sums."""

    def rows(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the views with rows of length 1, in float32 or wider."""
        return tuple(unit_rows(view, self.row_eps).to(result_dtype(view)) for view in views)

    def figure(self, name: str, views: Sequence[Tensor], mean: Mean = total) -> Tensor:
        """Returns what the file's calculate_ function for the loss `name` returned, (B,)*n, for n unscaled views (B,
        F).
        """
        figures = figure(name, views, mean, self.eps)
        if name in self.averaged:
            figures = figures / views[0].shape[-1]
        return figures.unsqueeze(-1) if name in self.with_axis else figures

    def score(self, name: str, normalised: bool, mean: Mean, *views: Tensor) -> Tensor:
        """Returns the result of the function that get_loss_fn returned, for the loss `name`."""
        rows = [unit_rows(view, self.row_eps) if normalised else widen(view) for view in check_views(views, None)]
        scores = pairwise(*rows) if name == "pairwise" else as_score(name, self.figure(name, rows, mean))
        return scores.to(result_dtype(views[0]))

    def loss_function(self, logitsversion: int, norm: bool, mean: Mean = total) -> partial[Tensor]:
        """Returns the function that get_loss_fn returned for `logitsversion`. Raises ConfigError, a ValueError, for a
        number that the file did not have.
        """
        one_of("logitsversion", logitsversion, tuple(self.versions))
        name = self.versions[logitsversion]
        without_scaling = logitsversion == WITHOUT_SCALING or name == NEVER_SCALED
        # The norms always scaled rows, also with norm=False.
        normalised = not without_scaling and (bool(norm) or name.startswith("norms"))
        return partial(self.score, name, normalised, mean)
