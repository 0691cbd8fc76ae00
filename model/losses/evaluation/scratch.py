"""Reuses buffers between steps: page faults on fresh memory cost as much as the writes into it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

# Keys of which objects are held: a training and a last, smaller batch, with and without gradients.
KEYS = 4


class Scratch:
    """Tensors whose content may be overwritten, and objects that own such tensors. limit: bytes of tensors that are
    held at most between steps.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free: list[Tensor] = []
        self._objects: dict[Hashable, list[Any]] = {}

    def __reduce__(self) -> tuple[type[Scratch], tuple[int]]:
        return Scratch, (self.limit,)  # a copied or unpickled object starts empty

    def take(self, key: Hashable) -> Any:
        """Returns an object that was given for this key, which then belongs to the caller; None where there is none."""
        objects = self._objects.get(key)
        return objects.pop() if objects else None

    def give(self, key: Hashable, item: Any) -> None:
        """Holds an object for a later call of `take`. Objects of the oldest keys are freed."""
        self._objects.setdefault(key, []).append(item)
        while len(self._objects) > KEYS:
            self._objects.pop(next(iter(self._objects)), None)

    def acquire(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Returns a tensor with any content, which belongs to the caller until it is released."""
        requested = tuple(shape), dtype, device
        for k, tensor in enumerate(self._free):
            if (tuple(tensor.shape), tensor.dtype, tensor.device) == requested:
                return self._free.pop(k)
        return torch.empty(tuple(shape), dtype=dtype, device=device)

    def release(self, tensors: Sequence[Tensor]) -> None:
        """Holds tensors for later calls of `acquire`. Beyond the limit the oldest, those of another batch size, are
        freed first.
        """
        # torch caches the memory of other devices itself. A tensor of inference mode must not be written to outside it.
        self._free.extend(tensor for tensor in tensors if tensor.device.type == "cpu" and not tensor.is_inference())
        while sum(tensor.nbytes for tensor in self._free) > self.limit:
            self._free.pop(0)
