"""The mean loss of an epoch. Early stopping and schedule=plateau read it."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor


class EpochMeanState(TypedDict):
    """The sum of the losses of an epoch so far, and their number."""

    total: float
    batches: int


class EpochMean:
    """Adds up the losses of an epoch's batches, on their device, without the batches of skipped optimizer steps.

    The loss of a skipped step may not be finite. The mean would then not be finite either, and early stopping and the
    plateau schedule would act on it.
    """

    def __init__(self) -> None:
        self._step: list[Tensor] = []
        self._total: Tensor | float = 0.0
        self._batches = 0

    def add(self, loss: Tensor) -> None:
        """Adds the loss of one batch, a 0-dimensional tensor without gradient, to the current optimizer step."""
        self._step.append(loss)

    def end_step(self, *, skipped: bool) -> Tensor:
        """Ends the optimizer step; returns the losses of its batches (k,), which count unless the step was skipped."""
        losses = torch.stack(self._step)
        self._step.clear()
        if not skipped:
            self._total = self._total + losses.double().sum()
            self._batches += len(losses)
        return losses

    def end_epoch(self) -> float | None:
        """Ends the epoch and returns its mean; None where every step was skipped."""
        if not self._batches:
            return None
        mean = float(self._total) / self._batches
        self._total, self._batches = 0.0, 0
        return mean

    def state_dict(self) -> EpochMeanState:
        """Returns the sum and the number of batches, for a checkpoint within an epoch."""
        return {"total": float(self._total), "batches": self._batches}

    def load_state_dict(self, state: EpochMeanState) -> None:
        """Restores what `state_dict` returned."""
        self._total, self._batches = state["total"], state["batches"]
