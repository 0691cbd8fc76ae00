"""Compiles functions of tensors with torch.compile, once for each kind of arguments, and never again for another batch.

torch.compile limits how often it compiles one code object, and compiles again for sizes that happen to be equal. Here
every kind of arguments has a code object of its own, and the sizes of a batch are marked as dynamic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from threading import RLock
from typing import Any

import torch
from torch import Tensor, fx

from model.losses.cross_terms import Backend

# A function of tensors that returns tensors.
TensorFunction = Callable[..., Sequence[Tensor]]
# Inductor stores an intermediate result that is read more than once and takes more operations or reads than this. Its
# own limit of 4 reads would store eight numbers of float64 for every cell of a tile; much larger limits make the
# kernels, and the time to compile them, many times as long.
FUSING = dict.fromkeys(("realize_reads_threshold", "realize_opcount_threshold", "realize_acc_reads_threshold"), 30)
# torch.compile is not safe where several threads use it at once.
_LOCK = RLock()


class CompiledFunction:
    """A function that torch.compile compiles at the first call with each kind of arguments, without gradient.

    The kind of an argument is its dtype, its device, whether it was made in inference mode, the sizes of its leading
    dimensions, and which of its other sizes are 1. Arguments must be contiguous.
    """

    def __init__(self, record: Callable[[int], fx.GraphModule], static: Sequence[int]) -> None:
        """record: returns the operations of the function of so many tensors, as a new module; static: for each
        argument, the number of leading dimensions whose sizes are compiled in.
        """
        self._record, self._static = record, tuple(static)
        self._compiled: dict[tuple[object, ...], TensorFunction] = {}

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        # Outside inference mode, for which torch.compile would compile again.
        with _LOCK, torch.inference_mode(False), torch.no_grad():
            # Without the tensors of which arguments are views: torch.compile gives names to their sizes too. Where it
            # compiles again, it then calls code for some sizes with tensors of other sizes (torch 2.11 to 2.13).
            tensors = tuple(x.data for x in tensors)
            kinds = tuple(_kind(x, static) for x, static in zip(tensors, self._static, strict=True))
            if kinds in self._compiled:
                return self._compiled[kinds](*tensors)
            # Copies, because torch.compile also gives names to the places of arguments in their storages, and compiles
            # again for other places.
            copies = [_copy(x) for x in tensors]
            for x, static in zip(copies, self._static, strict=True):
                for dimension in range(static, x.dim()):
                    torch._dynamo.maybe_mark_dynamic(x, dimension)
            with warnings.catch_warnings():  # Inductor uses deprecated functions of torch
                warnings.simplefilter("ignore")
                self._compiled[kinds] = torch.compile(self._record(len(tensors)), options=dict(FUSING))
                return self._compiled[kinds](*copies)


def _copy(x: Tensor) -> Tensor:
    """Returns a tensor of the same kind that is no view."""
    with torch.inference_mode(x.is_inference()):
        return x.clone()


def _kind(x: Tensor, static: int) -> tuple[object, ...]:
    ones = tuple(size == 1 for size in x.shape[static:])
    return x.dtype, x.device, x.is_inference(), x.shape[:static], ones


def recorded(function: TensorFunction, count: int) -> fx.GraphModule:
    """Returns the operations of a function of `count` tensors as a module with a code object of its own."""
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    results: Any = function(*(fx.Proxy(graph.placeholder(f"x{k}"), tracer) for k in range(count)))
    graph.output(tuple(result.node for result in results))
    return fx.GraphModule({}, graph)


def fuses(backend: Backend, device: torch.device) -> bool:
    """Returns whether torch.compile computes on a device. Where it should and cannot, raises RuntimeError if the
    backend requires it, and warns otherwise.
    """
    if not backend.fuses(device):
        return False
    reason = problem(device.type)
    if reason is None:
        return True
    if backend.required:
        raise RuntimeError(f"loss.backend={backend.name} is not possible: {reason}; accepted: auto, eager")
    warnings.warn(f"losses run in single operations, several times slower: {reason}", stacklevel=2)
    return False


def default_device_type() -> str:
    """Returns the kind of device that a run uses by default: "cuda" where torch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def problem(device_type: str) -> str | None:
    """Returns the reason why torch.compile cannot work on a kind of device, in one line; None if it can."""
    try:
        double = CompiledFunction(lambda count: recorded(lambda x: (2 * x,), count), [0])
        double(torch.ones(8, device=device_type))
    except Exception as error:  # of Dynamo, of Inductor, of a compiler, or of the driver
        return f"torch.compile on {device_type}: {_message(error)}"
    return None


def _message(error: Exception) -> str:
    """Returns the first two lines of an error's message, which name the part that failed and the reason, as one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
