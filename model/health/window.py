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
    bad: list[Tensor] = field(default_factory=list)
    """Per batch a 0-dimensional bool on the loss's device: whether the loss is NaN or Inf."""

    def add_batch(self, batch: Any) -> None:
        """Keeps the batch's indices, if it has any."""
        self.indices.append(getattr(batch, "indices", None))

    def add_loss(self, loss: Tensor) -> None:
        """`loss` may be scaled: a finite factor leaves its finiteness alone."""
        self.bad.append(~torch.isfinite(loss.detach()).all())

    def any_bad(self, device: torch.device) -> Tensor:
        """Whether any loss was not finite, 0-dimensional on `device`; no host synchronisation."""
        return torch.stack([flag.to(device) for flag in self.bad]).any() if self.bad else torch.zeros((), dtype=torch.bool, device=device)

    def offenders(self, by_loss: bool) -> list[int]:
        """Sample indices of the batches whose loss was bad, or, where no loss of any process was (`by_loss` false), of all. Synchronises."""
        chosen = [kept for kept, bad in zip(self.indices, self.bad, strict=False) if bad] if by_loss else self.indices
        return [int(index) for kept in chosen if kept is not None for index in torch.as_tensor(kept).flatten().tolist()]

    def clear(self) -> None:
        """Starts the next window."""
        self.indices.clear()
        self.bad.clear()
