"""Counts what a step of a loss launches on a GPU, on a machine without one.

Operations of torch are counted as they are dispatched. Functions of torch.compile are counted by the kernels that
Inductor's scheduler has left after fusion: it is stopped before it writes code. It fuses for a CPU, where it fuses
loops of equal sizes only; for a GPU it fuses at least these. For a GPU it splits a reduction in two kernels where too
few threads would add many numbers each. A kernel with a reduction counts twice, unless it adds neighbours in memory for
as many results as there are rows, which is enough for any GPU. The count is therefore an upper bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from model.losses.inductor.compile import CompiledFunction

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
# What waits for the device, or copies from the host.
SYNCHRONISING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh", "masked_select"}
# What allocates memory or changes only how it is read, besides operations whose result is a view.
FREE = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach", "_unsafe_view", "set_"}
Uncompiled = Callable[..., Any]


class Launches(TorchDispatchMode):
    """Counts operations that launch a kernel, by name: `products`, `syncs`, and `kernels` for all others."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.products = 0
        self.syncs: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_") if func.overloadpacket.__name__ != "set_" else "set_"
        is_view = any(x.alias_info is not None and not x.alias_info.is_write for x in func._schema.returns)
        if name in SYNCHRONISING:
            self.syncs[name] += 1
        elif name in PRODUCTS:
            self.products += 1
        elif name not in FREE and not is_view:
            self.kernels[name] += 1
        return func(*args, **(kwargs or {}))


class _CountedError(Exception):
    """Stops Inductor after its scheduler has fused."""


def kernels_of(function: CompiledFunction, tensors: tuple[Tensor, ...], call: Uncompiled) -> int:
    """Returns the number of kernels of a function for these arguments. call: the method that compiles."""
    from torch._inductor import config, scheduler

    counts: list[int] = []

    def count(self: Any) -> None:
        counts.append(sum(map(_launches, _flat(self.nodes))))
        raise _CountedError

    plain, scheduler.Scheduler.codegen = scheduler.Scheduler.codegen, count
    try:
        with config.patch(force_disable_caches=True):
            call(CompiledFunction(function._record, function._static), *tensors)
    except Exception:
        if not counts:
            raise
    finally:
        scheduler.Scheduler.codegen = plain
    return counts[0]


def results_of(function: CompiledFunction, tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Returns results of a function that have shapes and dtypes only."""
    with FakeTensorMode() as mode:
        results: list[Tensor] = function._record(len(tensors))(*map(mode.from_tensor, tensors))
    return results


def _flat(nodes: list[Any]) -> Iterator[Any]:
    """Yields fused nodes; those that a CPU runs in one parallel region are separate kernels."""
    for node in nodes:
        yield from getattr(node, "_outer_fused_nodes", [node])


def _launches(node: Any) -> int:
    if type(node).__name__ == "NopKernelSchedulerNode":
        return 0
    return 2 if any(_may_be_split(x) for x in node.get_nodes()) else 1


def _may_be_split(node: Any) -> bool:
    """Returns whether a reduction, unfused, adds numbers that are not neighbours in memory, or has few results."""
    if not node.is_reduction():
        return False
    results, _ = node.group[1]
    reads = [dep for dep in node.read_writes.reads if getattr(dep, "var_names", ())]
    strides = [dep.index.coeff(dep.var_names[-1]) for dep in reads]
    return not results or any(stride not in (0, 1) for stride in strides)


@contextmanager
def counted(fused: bool) -> Iterator[Callable[[Callable[[], object]], Launches]]:
    """Gives a function that returns the launches of a call, in which functions of torch.compile return zeros. fused:
    False to count each of their calls as one kernel.
    """
    plain, known = CompiledFunction.__call__, {}
    modes: list[Launches] = []

    def stand_in(self: CompiledFunction, *tensors: Tensor) -> Any:
        kinds = id(self), *((x.dtype, x.shape) for x in tensors)
        with _disable_current_modes():
            if kinds not in known:
                known[kinds] = kernels_of(self, tensors, plain) if fused else 1, results_of(self, tensors)
            kernels, results = known[kinds]
            for mode in modes:
                mode.kernels["compiled"] += kernels
            return [torch.zeros(x.shape, dtype=x.dtype) for x in results]

    def launches_of(call: Callable[[], object]) -> Launches:
        modes.append(Launches())
        with modes[-1]:
            call()
        return modes.pop()

    CompiledFunction.__call__ = stand_in
    try:
        yield launches_of
    finally:
        CompiledFunction.__call__ = plain
