"""Times calls that alternate within one process, so that a busy machine slows all of them alike.

A benchmark prints `machine()` first, and reports ratios of medians of one run.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Calls = Mapping[str, Callable[[], object]]


def machine() -> str:
    """Returns one line: processor, cores, threads, load, and the versions of Python and torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    if torch.cuda.is_available():
        processor = f"{torch.cuda.get_device_name()}, {processor}"
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def synchronise() -> None:
    """Waits until the accelerator, if there is one, has finished what was launched."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    """Returns the time of one call, the mean of `calls`: wall time, or with one thread the processor time of this
    process, which other work on the machine disturbs less.
    """
    clock = time.perf_counter if torch.get_num_threads() > 1 or torch.cuda.is_available() else time.process_time
    synchronise()
    start = clock()
    for _ in range(calls):
        call()
    synchronise()
    return (clock() - start) / calls


def interleaved(calls: Calls, rounds: int = 21, least_seconds: float = 0.005) -> dict[str, float]:
    """Returns the median seconds of each call.

    The calls alternate. A figure of one round is the mean of so many calls that they take `least_seconds`, because a
    clock cannot time a call of microseconds. Two more rounds come first and are not counted, unless `rounds` is 1.
    """
    counts = {}
    for name, call in calls.items():
        call()
        counts[name] = max(1, int(least_seconds / max(seconds(call), 1e-6)))
    warm_up = 2 if rounds > 1 else 0
    rows = [{name: seconds(call, counts[name]) for name, call in calls.items()} for _ in range(warm_up + rounds)]
    return {name: statistics.median(row[name] for row in rows[warm_up:]) for name in calls}
