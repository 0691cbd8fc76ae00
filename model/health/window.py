"""What happened between two optimizer steps: which batches, and whether their losses were finite. torch only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Window:
    """The batches whose gradients make up one optimizer step."""

    indices: list[Any] = field(default_factory=list)
    """Per batch its (B,) sample indices, None where the batch has none."""
    losses: list[Tensor] = field(default_factory=list)
    """Per batch its 0-dimensional loss, still on its device."""

    def add_batch(self, batch: Any) -> None:
        """Keeps the batch's indices, if it has any."""
        self.indices.append(getattr(batch, "indices", None))

    def add_loss(self, loss: Tensor) -> None:
        """`loss` as it goes into the backward pass: divided by the number of accumulated batches, and scaled where a
        gradient scaler is used.
        """
        self.losses.append(loss.detach())

    def loss(self, device: torch.device) -> Tensor:
        """The sum of the losses, 0-dimensional on `device`: that of the step as one large batch. No host
        synchronisation.
        """
        return (
            torch.stack([loss.to(device) for loss in self.losses]).sum()
            if self.losses
            else torch.zeros((), device=device)
        )

    def offenders(self, by_loss: bool) -> list[int]:
        """Sample indices of the batches whose loss was bad, or, where no loss of any process was (`by_loss` false), of
        all. Synchronises.
        """
        bad = [not torch.isfinite(loss) for loss in self.losses]
        chosen = [kept for kept, flag in zip(self.indices, bad, strict=False) if flag] if by_loss else self.indices
        return [int(index) for kept in chosen if kept is not None for index in torch.as_tensor(kept).flatten().tolist()]

    def clear(self) -> None:
        """Starts the next window."""
        self.indices.clear()
        self.losses.clear()
