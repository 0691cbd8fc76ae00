"""Records the inputs and outputs of an encoder with a forward hook, without a second forward pass. torch only.

Shapes: n views, B rows of a batch, R recorded rows, K captions, T tokens, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.health.views import ROWS, ViewSample


class ViewRecorder:
    """Records the first rows that pass through an encoder."""

    def __init__(self, rows: int = ROWS) -> None:
        """rows: the number of rows to record, at most."""
        self.rows = rows
        self._batches: list[ViewSample] = []
        self._handle: RemovableHandle | None = None

    @property
    def recording(self) -> bool:
        """Whether a hook is registered."""
        return self._handle is not None

    def start(self, encoder: nn.Module) -> None:
        """Starts to record. encoder: maps images (B, 3, H, W) and captions (B, K, T) to views (n, B, F)."""
        self.stop()
        self._handle = encoder.register_forward_hook(self._record)

    def finish(self) -> ViewSample | None:
        """Stops to record. Returns the recorded rows on the CPU, views in float32 or float64; None without rows."""
        batches = self._batches
        self.stop()
        if not batches:
            return None
        captions = torch.cat([batch.captions for batch in batches])
        views = torch.cat([batch.views for batch in batches], dim=1)
        return ViewSample(captions.cpu(), views.cpu().to(torch.promote_types(views.dtype, torch.float32)))

    def stop(self) -> None:
        """Removes the hook, and discards the recorded rows."""
        if self._handle is not None:
            self._handle.remove()
        self._handle, self._batches = None, []

    def _record(self, encoder: nn.Module, inputs: tuple[Tensor, Tensor], views: Tensor) -> None:
        """Records the rows of one forward pass, up to the limit."""
        room = self.rows - sum(len(batch.captions) for batch in self._batches)
        if room > 0:
            self._batches.append(ViewSample(inputs[1][:room].detach(), views[:, :room].detach()))
