"""Compiles functions of tensors with torch.compile, once for each kind of arguments, and never again for another batch.

torch.compile limits how often it compiles one code object, and compiles again for sizes that happen to be equal. Here
every kind of arguments has a code object of its own, and the sizes of a batch are marked as dynamic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from threading import RLock

import torch
from torch import Tensor, fx

# What is compiled: a function of tensors that returns tensors, in torch operations that fx can record.
TensorFunction = Callable[..., Sequence[Tensor]]
# torch.compile is not safe where several threads use it at once.
_LOCK = RLock()


class CompiledFunction:
    """A function that torch.compile compiles at the first call with each kind of arguments, without gradient.

    The kind of an argument is its dtype, its device, whether it belongs to inference mode, the sizes of its leading
    dimensions, and which of its other sizes are 1. Arguments must be contiguous.
    """

    def __init__(self, function: TensorFunction, static: Sequence[int]) -> None:
        """static: for each argument, the number of leading dimensions whose sizes are compiled in."""
        self._function, self._static = function, tuple(static)
        self._compiled: dict[tuple[object, ...], TensorFunction] = {}

    @torch.no_grad()
    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        with _LOCK:
            kinds = tuple(_kind(x, static) for x, static in zip(tensors, self._static, strict=True))
            if kinds not in self._compiled:
                for x, static in zip(tensors, self._static, strict=True):
                    for dimension in range(static, x.dim()):
                        torch._dynamo.maybe_mark_dynamic(x, dimension)
                self._compiled[kinds] = torch.compile(recorded(self._function, len(tensors)), fullgraph=True)
            return self._compiled[kinds](*tensors)


def _kind(x: Tensor, static: int) -> tuple[object, ...]:
    ones = tuple(size == 1 for size in x.shape[static:])
    return x.dtype, x.device, x.is_inference(), x.shape[:static], ones


def recorded(function: TensorFunction, count: int) -> fx.GraphModule:
    """Returns the operations of a function of `count` tensors as a module with a code object of its own."""
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    results = function(*(fx.Proxy(graph.placeholder(f"x{k}"), tracer) for k in range(count)))
    graph.output(tuple(result.node for result in results))
    return fx.GraphModule({}, graph)


@cache
def problem(device_type: str) -> str | None:
    """Returns the reason why torch.compile cannot work on a kind of device, in one line; None if it can."""
    try:
        CompiledFunction(lambda x: (x * 2 + 1,), [0])(torch.ones(8, device=device_type))
    except Exception as error:  # of Dynamo, of Inductor, of a compiler, or of the driver
        return f"torch.compile on {device_type}: {_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
