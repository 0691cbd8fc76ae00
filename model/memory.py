"""The largest memory that one run held, also where one process does many runs in turn."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
# What Linux takes for "forget the largest resident size so far".
FORGET_PEAK = "5"


def forget_peak() -> None:
    """What came before no longer counts. Where the system cannot forget (not Linux), the process's whole life
    counts.
    """
    gc.collect()
    with contextlib.suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_mib() -> float:
    """Since `forget_peak`, in MiB: of the GPU's allocations where there is one, else of the process's resident size."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
