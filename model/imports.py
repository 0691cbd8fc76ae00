"""Faster imports of large packages, and other work that creates many objects. Standard library only."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# Large modules that libraries import for one function, which a run does not call.
UNUSED = {"scipy.signal": "hamming", "scipy.optimize": "linear_sum_assignment"}


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


def import_libraries() -> None:
    """Imports torchmetrics and the models of transformers, without the parts of SciPy that they import and a run does
    not use. Those parts take about a second.
    """
    replaced = {name: stand_in(name, function) for name, function in UNUSED.items() if name not in sys.modules}
    sys.modules.update(replaced)
    try:
        for library in ("torchmetrics", "transformers.modeling_utils"):
            importlib.import_module(library)
    finally:
        for name, module in replaced.items():
            remove(name, module)


def stand_in(name: str, function: str) -> ModuleType:
    """Returns a module that imports the module `name` when `function` is called or another attribute is read."""

    def imported() -> ModuleType:
        remove(name, module)
        return importlib.import_module(name)

    def call_imported(*arguments: Any, **keywords: Any) -> Any:
        return getattr(imported(), function)(*arguments, **keywords)

    def read_imported(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks for these
            raise AttributeError(attribute)
        return getattr(imported(), attribute)

    module = ModuleType(name)
    vars(module).update({function: call_imported, "__getattr__": read_imported})
    return module


def remove(name: str, module: ModuleType) -> None:
    """Removes a module from the imported ones, if it is the one with this name."""
    if sys.modules.get(name) is module:
        del sys.modules[name]
