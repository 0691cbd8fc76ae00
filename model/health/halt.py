"""Names the samples of a skipped step, and writes the file that explains why a run was halted. No Lightning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from model.distributed import several_processes
from model.record.files import write_whole

FILE = "halt.json"
LAST_GOOD = Path("checkpoints") / "last_good.ckpt"


def suspect_samples(losses: Tensor, indices: Sequence[Tensor | None], *, by_loss: bool) -> list[int]:
    """Returns the sample indices of the batches that may be the cause of a bad step. Synchronises.

    losses: (N,), one for each of the N accumulated batches; indices: the sample indices of each batch, None where they
    are not known; by_loss: whether to return only the batches whose loss is not finite. Without it all batches are
    suspect.
    """
    suspects = (~torch.isfinite(losses)).tolist() if by_loss else [True] * len(indices)
    batches = [batch for batch, suspect in zip(indices, suspects, strict=False) if suspect and batch is not None]
    return [int(index) for batch in batches for index in torch.as_tensor(batch).flatten().tolist()]


def from_all_processes(indices: list[int]) -> list[int]:
    """Returns the sample indices of all processes, in the order of their ranks."""
    if not several_processes():
        return indices
    gathered: list[list[int]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, indices)
    return [index for process in gathered for index in process]


def write_halt(
    run_dir: Path, *, step: int, reason: str, indices: list[int], layers: list[str], has_checkpoint: bool
) -> None:
    """Writes halt.json.

    step: the optimizer step, counted from 1; reason: what is not finite; indices: the samples of its batches; layers:
    the parameters whose gradients are not finite; has_checkpoint: whether the last good weights were saved.
    """
    checkpoint = LAST_GOOD.as_posix() if has_checkpoint else None
    record = {"step": step, "reason": reason, "indices": indices, "layers": layers, "checkpoint": checkpoint}
    write_whole(run_dir / FILE, json.dumps(record, indent=2) + "\n")


def halt_text(step: int, reason: str, skipped: int, run_dir: Path | None, has_checkpoint: bool) -> str:
    """Returns the message of TrainingHalted. Where `run_dir` is given, a second line names the files that were
    written.
    """
    text = f"training halted at step {step}: {reason}, {skipped} steps were skipped before it"
    if run_dir is None:
        return text
    weights = f"; {LAST_GOOD} has the weights after the last applied step" if has_checkpoint else ""
    return f"{text}\n{run_dir / FILE} lists the samples and layers{weights}"
