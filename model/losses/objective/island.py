"""Arithmetic that no switch of the process changes: no autocast, and float32 products in float32.

`torch.set_float32_matmul_precision`, the TF32 flags and their successors let matrix products of float32 round their
inputs to 10 or 7 bits. These switches belong to the whole process: while a loss runs they say full precision, and
afterwards what they said before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import torch


class Switch(NamedTuple):
    """One setting of torch: how it is read and set, and its value for full precision."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    full: Any


def _attribute(owner: Any, full: str) -> Switch:
    return Switch(lambda: owner.fp32_precision, lambda value: setattr(owner, "fp32_precision", value), full)


def switches() -> list[Switch]:
    """Those of matrix products: by kind of device where torch has them (2.9 and newer), else the one for all."""
    owners = [
        getattr(torch.backends.cuda, "matmul", None),
        getattr(getattr(torch.backends, "mkldnn", None), "matmul", None),
    ]
    if all(hasattr(owner, "fp32_precision") for owner in owners):
        return [_attribute(owner, "ieee") for owner in owners]
    return [Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")]


class _FullProducts:
    """Holds the switches while at least one thread needs them; what they said before comes back with the last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before: list[tuple[Switch, Any]] = []

    def enter(self) -> None:
        """Counts a thread in."""
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = [(switch, switch.read()) for switch in switches()]
                for switch, value in self._before:
                    if value != switch.full:
                        switch.write(switch.full)

    def leave(self) -> None:
        """Counts it out. A switch that somebody else has set meanwhile stays as it is."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for switch, value in self._before:
                    if value != switch.full and switch.read() == switch.full:
                        switch.write(value)


_PRODUCTS = _FullProducts()


@contextmanager
def full_precision() -> Iterator[None]:
    """For the forward pass of a loss, on every kind of device that may hold the views. Backward passes make no float32
    product.
    """
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        _PRODUCTS.enter()
        try:
            yield
        finally:
            _PRODUCTS.leave()
