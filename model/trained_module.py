"""What the callbacks of a run read from the LightningModule, and what they set on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class TrainedModule(Protocol):
    """The part of `model.module.NWayClip` that callbacks use. Shapes: n views, N rows of the split, D features."""

    step_skipped: bool
    """The gradient monitor sets it when it skips an optimizer step; the module resets it after the schedule's turn."""
    validation_views: Tensor | None
    """The views (n, N, D) of the last validation, float32 on the CPU, in the order of the split."""

    def record(self, values: Mapping[str, Tensor | float]) -> None:
        """Adds figures to the row of this step in metrics.csv and in the other loggers."""

    def take_recorded(self) -> dict[str, Tensor | float]:
        """Returns the figures that were recorded since the last call."""

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the trained parameters of each tower."""

    def view_gradients(self) -> dict[str, Tensor]:
        """Returns, for each view, the norm of the gradient of the loss with respect to its features."""
