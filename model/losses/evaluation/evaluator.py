"""The settings with which a loss evaluates its score along lines.

Shapes: n views, B rows, b rows of a block, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from model.losses.cross_terms import AUTO, Backend, CrossTerm
from model.losses.evaluation.scratch import Scratch
from model.losses.evaluation.view_pass import ViewPass
from model.losses.numerics import normalise
from model.losses.score import RowStats, Score

# MiB of scratch memory on a CPU, and the least on a GPU.
CPU_MEMORY_MIB = 200
# The share of a GPU's memory that a loss takes for its tiles: fewer tiles launch fewer kernels.
GPU_SHARE = 1 / 32


@cache
def default_memory_mib(device: torch.device) -> int:
    """Returns the MiB of scratch memory that a loss takes where the configuration names no number."""
    if device.type != "cuda":
        return CPU_MEMORY_MIB
    return max(CPU_MEMORY_MIB, int(GPU_SHARE * torch.cuda.get_device_properties(device).total_memory) >> 20)


@dataclass(frozen=True)
class LineEvaluator:
    """How views become line scores."""

    score: Score
    normalised: bool
    """True if each row is divided by its norm + eps first."""
    eps: float
    scratch: Scratch = field(compare=False)
    """Memory that is reused between steps."""

    backend: Backend = AUTO
    """Whether compiled code or torch computes."""

    memory_mib: int | None = None
    """MiB of scratch memory that a tile may take; None for `default_memory_mib`."""

    def budget(self, device: torch.device) -> int:
        """Returns the bytes of scratch memory that a tile on a device may take."""
        return (default_memory_mib(device) if self.memory_mib is None else self.memory_mib) << 20

    def prepare(self, views: Tensor, narrow: bool = False) -> tuple[Tensor, RowStats]:
        """Returns the rows of (n, b, F) float64, normalised if the evaluator says so, and their statistics. narrow:
        the rows come from a dtype narrower than float64.
        """
        rows = normalise(views, self.eps, narrow) if self.normalised else views
        return rows, self.score.prepare(rows)

    def cross_terms(self, rows: Sequence[Tensor]) -> Iterator[Sequence[CrossTerm]]:
        """Yields the cross terms of each direction for normalised rows, n of (B, F), as differentiable functions."""
        return self.score.cross_terms(rows)

    @property
    def is_plain(self) -> bool:
        """True if the cross terms of the loss are those of the score."""
        return type(self) is LineEvaluator

    def derived_pass(self, view_pass: ViewPass) -> ViewPass:
        """Returns the pass whose cross terms are those of the loss, given that of the score. Here they are the same."""
        return view_pass
