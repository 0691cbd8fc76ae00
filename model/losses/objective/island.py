"""Full precision inside a loss: no autocast, and float32 products in float32, whatever the switches of the process.

`torch.set_float32_matmul_precision`, the TF32 flags and their successors allow float32 matrix products to round their
inputs to 10 or 7 bits. These switches apply to the whole process. While a loss runs they are set to full precision, and
afterwards to their earlier values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import torch


class Switch(NamedTuple):
    """A setting of torch: how to read and write it, and its value for full precision."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    full: Any


def _attribute(owner: Any, full: str) -> Switch:
    return Switch(lambda: owner.fp32_precision, lambda value: setattr(owner, "fp32_precision", value), full)


@cache
def switches() -> list[Switch]:
    """Returns the switches of matrix products: one for each kind of device in torch 2.9 and newer, else one for all."""
    owners = [
        getattr(torch.backends.cuda, "matmul", None),
        getattr(getattr(torch.backends, "mkldnn", None), "matmul", None),
    ]
    if all(hasattr(owner, "fp32_precision") for owner in owners):
        return [_attribute(owner, "ieee") for owner in owners]
    return [Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")]


class _FullProducts:
    """Sets the switches while at least one thread needs full precision; the last thread restores the earlier values."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before: list[tuple[Switch, Any]] = []

    def enter(self) -> None:
        """Counts a thread that needs full precision; the first one sets the switches."""
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = [(switch, switch.read()) for switch in switches()]
                for switch, value in self._before:
                    if value != switch.full:
                        switch.write(switch.full)

    def leave(self) -> None:
        """Counts a thread that has ended; the last one restores all switches that other code has left alone."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for switch, value in self._before:
                    if value != switch.full and switch.read() == switch.full:
                        switch.write(value)


_PRODUCTS = _FullProducts()


@contextmanager
def full_precision() -> Iterator[None]:
    """Gives the forward pass of a loss full precision, on every kind of device that may hold the views. Backward passes
    compute no float32 product.
    """
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        _PRODUCTS.enter()
        stack.callback(_PRODUCTS.leave)
        yield
