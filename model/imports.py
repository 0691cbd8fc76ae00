"""Faster imports of large packages, and other work that creates many objects. Standard library only."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses the garbage collector while the block creates many objects that are all in use. The collector would look
    through all of them again and again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def large_imports() -> Iterator[None]:
    """Pauses the garbage collector while the block imports large packages, which takes a fifth less time.

    Nothing that an import creates becomes garbage, but the collector looks through all of it again and again. After the
    block, it no longer looks at the objects that exist by then.
    """
    with collector_paused():
        yield
        gc.freeze()


def import_torchmetrics() -> None:
    """Imports torchmetrics, which Lightning needs, without scipy.signal. This saves a fifth of the imports of a run.

    torchmetrics imports scipy.signal only to add a function `hamming` for another package. An empty module takes its
    place meanwhile. A later import of scipy.signal gets the real module.
    """
    if {"torchmetrics", "scipy.signal"} & sys.modules.keys():
        importlib.import_module("torchmetrics")
        return
    stand_in = ModuleType("scipy.signal")
    stand_in.__dict__["hamming"] = None
    sys.modules["scipy.signal"] = stand_in
    try:
        importlib.import_module("torchmetrics")
    finally:
        del sys.modules["scipy.signal"]
