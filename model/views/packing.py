"""The tokens of a batch of texts without the padding behind them. Whatever treats each token alone, such as a linear
layer, reads packed tokens; attention reads padded ones.

Shapes: B texts, L tokens of the longest text, N packed tokens, D features. N is the number of tokens of all texts,
rounded up for large batches.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.views.positions import up_to

# From LARGE tokens on, N is a multiple of MULTIPLE. Batches then have few different sizes, and the memory of one fits
# the next; without that, a run on a CPU holds up to half more memory.
MULTIPLE = 256
LARGE = 8 * MULTIPLE


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
        positions = torch.arange(total, device=end.device) + shift.repeat_interleave(lengths, output_size=total)
        self._total = total
        # The rows behind the texts repeat the first token, and nothing reads them.
        self._positions = F.pad(positions, (0, -total % MULTIPLE if total >= LARGE else 0))

    def pack(self, padded: Tensor) -> Tensor:
        """Returns the rows of the tokens: (B, L, ...) -> (N, ...)."""
        return padded.flatten(0, 1).index_select(0, self._positions)

    def pad(self, packed: Tensor) -> Tensor:
        """Returns the rows at their positions, and zeros at the other positions: (N, ...) -> (B, L, ...)."""
        zeros = packed.new_zeros(self.text.numel(), *packed.shape[1:])
        return zeros.index_copy(0, self._positions[: self._total], packed[: self._total]).unflatten(0, self.text.shape)

    def at_end(self, packed: Tensor) -> Tensor:
        """Returns the rows of the end tokens: (N, ...) -> (B, ...)."""
        return packed.index_select(0, self.last)
