"""Memory that a loss keeps from step to step: pages that the system hands out anew cost as much as what is written into
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Tensors that are free to be written over. `limit`: bytes that are kept at the most; what is more goes back to the
    system.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free: list[Tensor] = []

    def __reduce__(self) -> tuple:
        return Scratch, (self.limit,)  # a copy, or another process's, starts with none

    def take(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A tensor with any content, nobody else's until it is given back."""
        wanted = tuple(shape), dtype, device
        for k, tensor in enumerate(self._free):
            if (tuple(tensor.shape), tensor.dtype, tensor.device) == wanted:
                return self._free.pop(k)
        return torch.empty(shape, dtype=dtype, device=device)

    def give(self, tensors: Sequence[Tensor]) -> None:
        """Takes tensors back. The oldest are let go first: those of another batch size."""
        # torch keeps the memory of other devices itself; what was made in inference mode cannot be written to outside
        # it.
        self._free.extend(tensor for tensor in tensors if tensor.device.type == "cpu" and not tensor.is_inference())
        while sum(tensor.nbytes for tensor in self._free) > self.limit:
            self._free.pop(0)
