"""A look at what goes through an encoder, without a second pass. torch only. Shapes: n views, B rows of a batch, K
captions, T tokens, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.health.views import ROWS, Seen


class Glimpse:
    """Keeps the first rows that an encoder is given while it is watched."""

    def __init__(self, rows: int = ROWS) -> None:
        """rows: how many are kept at the most."""
        self.rows = rows
        self._parts: list[Seen] = []
        self._handle: RemovableHandle | None = None

    @property
    def watching(self) -> bool:
        """Whether an encoder is watched."""
        return self._handle is not None

    def watch(self, encoder: nn.Module) -> None:
        """From now on. encoder: called with images (B, 3, H, W) and captions (B, K, T), gives views (n, B, F)."""
        self.forget()
        self._handle = encoder.register_forward_hook(self._keep)

    def take(self) -> Seen | None:
        """What was seen, on the CPU, views in float32 or float64; None where nothing was. Ends the watch."""
        parts = self._parts
        self.forget()
        if not parts:
            return None
        captions, views = torch.cat([part.captions for part in parts]), torch.cat([part.views for part in parts], dim=1)
        return Seen(captions.cpu(), views.cpu().to(torch.promote_types(views.dtype, torch.float32)))

    def forget(self) -> None:
        """Ends the watch and leaves nothing behind."""
        if self._handle is not None:
            self._handle.remove()
        self._handle, self._parts = None, []

    def _keep(self, encoder: nn.Module, inputs: tuple[Tensor, Tensor], views: Tensor) -> None:
        """Called after every pass."""
        left = self.rows - sum(len(part.captions) for part in self._parts)
        if left > 0:
            self._parts.append(Seen(inputs[1][:left].detach(), views[:, :left].detach()))
