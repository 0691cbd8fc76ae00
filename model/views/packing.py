"""The tokens of a batch of texts without the padding behind them. Whatever treats each token alone, such as a linear
layer, reads packed tokens; attention reads padded ones.

Shapes: B texts, L tokens of the longest text, N tokens of all texts, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.views.positions import up_to


class Packing:
    """Where the tokens of B texts stand. A text goes up to its end token."""

    def __init__(self, end: Tensor) -> None:
        """end: the position of the end token of each text, (B,) int64. Synchronises once with the device."""
        lengths = end + 1
        longest, total = torch.stack([lengths.max(), lengths.sum()]).tolist()
        behind = lengths.cumsum(0)
        self.longest = longest
        """L."""
        self.end = end
        self.text = up_to(end, longest)
        """Which positions belong to a text, (B, L) bool."""
        self.last = behind - 1
        """(B,) the number of each text's end token among the packed tokens."""
        shift = torch.arange(len(end), device=end.device) * longest - (behind - lengths)
        self._positions = torch.arange(total, device=end.device) + shift.repeat_interleave(lengths, output_size=total)

    def pack(self, padded: Tensor) -> Tensor:
        """Returns the rows of the tokens: (B, L, ...) -> (N, ...)."""
        return padded.flatten(0, 1).index_select(0, self._positions)

    def pad(self, packed: Tensor) -> Tensor:
        """Returns the rows at their positions, and zeros at the other positions: (N, ...) -> (B, L, ...)."""
        zeros = packed.new_zeros(self.text.numel(), *packed.shape[1:])
        return zeros.index_copy(0, self._positions, packed).unflatten(0, self.text.shape)

    def at_end(self, packed: Tensor) -> Tensor:
        """Returns the rows of the end tokens: (N, ...) -> (B, ...)."""
        return packed.index_select(0, self.last)
