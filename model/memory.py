"""The peak memory of one run, also where one process does many runs in turn."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
# Written to CLEAR, it makes Linux reset the peak resident size.
FORGET_PEAK = "5"


def forget_peak() -> None:
    """Resets the peak, so that `peak_mib` measures from here. Systems other than Linux cannot reset it: there the peak
    of the whole process counts.
    """
    gc.collect()
    with contextlib.suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_mib() -> float:
    """Returns the peak since `forget_peak` in MiB: of the GPU's allocations if there is a GPU, otherwise of the
    process's resident size.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
