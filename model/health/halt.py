"""The files that a halted run leaves behind. Standard library and torch.distributed only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch.distributed as dist

from model.record.files import write_whole

FILE = "halt.json"
LAST_GOOD = Path("checkpoints") / "last_good.ckpt"


def from_all_processes(indices: list[int]) -> list[int]:
    """The sample indices of every process, in their order."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return indices
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, indices)
    return [index for part in parts for index in part]


def write_halt(run_dir: Path, *, step: int, reason: str, indices: list[int], layers: list[str]) -> None:
    """halt.json: the optimizer step (counted from 1), why, which samples its batches held, which parameters' gradients
    are not finite.
    """
    record = {"step": step, "reason": reason, "indices": indices, "layers": layers, "checkpoint": LAST_GOOD.as_posix()}
    write_whole(run_dir / FILE, json.dumps(record, indent=2) + "\n")


def halt_text(step: int, why: str, skipped: int, run_dir: Path | None) -> str:
    """The message of TrainingHalted. Its second line names the files that the run has written; without `run_dir` there
    are none.
    """
    text = f"training halted at step {step}: {why}, {skipped} steps were skipped before it"
    files = (
        f"\n{run_dir / FILE} names samples and layers; {LAST_GOOD} has the weights after the last step that was applied"
        if run_dir
        else ""
    )
    return text + files
