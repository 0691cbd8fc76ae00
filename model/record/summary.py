"""Reads and writes summary.json: the result of a run, for people and for the comparison of a sweep."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from model.record.disk import writing
from model.record.files import write_whole

SUMMARY = "summary.json"
EVALUATION = "evaluation.json"
# This file exists while a run that has written its summary makes its analysis and report. A run that was interrupted
# there makes them when it continues.
UNFINISHED = ".unfinished"
# The status of a run that ended normally. The others are `failed` and `interrupted`.
ENDED = ("complete", "stopped")
# The default of `objective`.
OBJECTIVE = "val/recall@1"
# Definitions of the two kinds of recall, for readers of tables.
RECALL_MEANING = (
    "recall@k: the share of images whose caption 1 is among the k most similar captions by cosine, "
    "averaged with the reverse direction."
)
JOINT_MEANING = (
    "joint_recall@k: the share of samples whose image is among the k images "
    "with the highest training score for the sample's other views."
)
PACKAGES = ("nway-clip", "torch", "pytorch-lightning", "hydra-core", "transformers")


@dataclass
class Summary:
    """The result of a finished run."""

    folder: Path
    status: str
    """`complete`, or `stopped` (by `trainer.max_time` or by early stopping)."""
    metrics: dict[str, float]
    """The figures of the last validation and of the splits of `evaluate`."""
    config_hash: str
    steps: dict[str, int]
    """Optimizer steps `attempted`, `applied`, `skipped` (by the monitor or the gradient scaler) and `clipped` (by the
    monitor).
    """
    seconds: float
    """Wall-clock time of training in this process, in seconds; without the time before the run was continued."""
    step_seconds: float | None
    """Median wall-clock time of an optimizer step, in seconds."""
    peak_memory_mib: float
    """Peak resident memory of the process (on a GPU: peak allocated memory) during this run, in MiB."""
    objective_name: str = OBJECTIVE
    """The figure that sweeps maximise."""
    notes: dict[str, object] = field(default_factory=dict)
    """Further entries of the file, such as the names of the views, the number of parameters, the samples of each split
    and the ceiling of recall.
    """

    @property
    def objective(self) -> float:
        """The value that a sweeper maximises; NaN if there was no validation."""
        return self.metrics.get(self.objective_name, math.nan)

    def write(self, name: str) -> None:
        """Writes the file `name` (summary.json, or evaluation.json if nothing was trained) to the run's folder."""
        body = {key: value for key, value in vars(self).items() if key not in ("folder", "notes", "objective_name")}
        write_summary(self.folder / name, {**body, **self.notes, "versions": versions()})


def record_failure(folder: Path, reason: str, name: str = SUMMARY, status: str = "failed") -> None:
    """Writes the summary of a run (with `name=EVALUATION`: of an evaluation) that failed or was interrupted.

    The summary of a run that has ended is not replaced: an interrupted report, or a failed attempt to continue the run,
    does not change its figures. An error of the file system is ignored, because a full disk may be why the run failed.
    reason: a sentence. status: `failed` or `interrupted`.
    """
    if read_summary(folder, name).get("status") in ENDED:
        return
    with suppress(OSError):
        write_summary(folder / name, {"status": status, "reason": reason, "versions": versions()})


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has ended and has written its figures, its analysis and its report."""
    return read_summary(folder).get("status") in ENDED and not (folder / UNFINISHED).exists()


def read_summary(folder: Path, name: str = SUMMARY) -> dict[str, Any]:
    """Returns the summary of the run in `folder`; empty if there is no file, or if the file is not a summary."""
    try:
        body = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) and isinstance(body.get("metrics", {}), dict) else {}


def write_summary(path: Path, body: Mapping[str, Any]) -> None:
    """Writes strict JSON, which any program can read. JSON has no NaN and no infinity: such numbers become null, which
    means that there is no figure. (health.jsonl keeps them apart, as the words nan, inf and -inf, because its pictures
    mark them.)
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(finite(body), indent=2, allow_nan=False) + "\n")


def finite(value: object) -> object:
    """Returns `value` with None for each float that is not finite, in nested dictionaries and lists too."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that determine a run's numbers."""
    numbers = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = "not installed"
    return numbers
