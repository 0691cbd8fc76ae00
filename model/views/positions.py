"""Positions in a batch of texts: where a text ends, and the row of a position. Shapes: B rows, T tokens, D features."""

from __future__ import annotations

import torch
from torch import Tensor


def end_positions(tokens: Tensor, end: int) -> Tensor:
    """Returns the position of the first `end` token in each row of (B, T) tokens: (B,); 0 for a text without an end
    token.
    """
    return (tokens == end).int().argmax(dim=1)


def up_to(positions: Tensor, length: int) -> Tensor:
    """Returns which of the positions 0 to length - 1 are at most positions[b]: (B,) -> (B, length) bool.

    The padding token cannot decide which tokens belong to a text, because some tokenisers pad with the end token.
    """
    return torch.arange(length, device=positions.device) <= positions[:, None]


def at_rows(states: Tensor, positions: Tensor) -> Tensor:
    """Selects the state at positions[b] of each sample b: (B, T, D) states, (B,) positions -> (B, D)."""
    return states[torch.arange(len(states), device=states.device), positions]
