"""summary.json: what became of a run, for people and for the comparison of a sweep."""

from __future__ import annotations

import json
import math
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model.record.disk import writing
from model.record.files import write_whole

SUMMARY = "summary.json"
EVALUATION = "evaluation.json"
# Exists from the summary of a run to the end of its analysis and report, which a run that is cut there makes when it
# goes on.
UNFINISHED = ".unfinished"
# The status of a run that came to its end; others are `failed` and `interrupted`.
ENDED = ("complete", "stopped")
# The default of `objective`.
OBJECTIVE = "val/recall@1"
# What the two kinds of recall mean, for readers of tables.
RECALL_MEANING = (
    "recall@k: image and caption 1 find each other among the first k by cosine, the mean of both directions."
)
JOINT_MEANING = (
    "joint_recall@k: the image is among the first k that the sample's other views find by the trained score."
)
PACKAGES = ("nway-clip", "torch", "pytorch-lightning", "hydra-core", "transformers")


@dataclass
class Summary:
    """One finished run."""

    folder: Path
    status: str
    """`complete`, or `stopped` (by a limit of time or by early stopping)."""
    metrics: dict[str, float]
    """The last validation's figures and those of the splits of `evaluate`."""
    config_hash: str
    steps: dict[str, int]
    """Optimizer steps `attempted`, `applied`, `skipped` (by the monitor or the gradient scaler) and `clipped` (as far
    as the monitor clips).
    """
    seconds: float
    """Wall-clock time of training in this process, in seconds; a continued run counts from its continuation."""
    step_seconds: float | None
    """Median wall-clock time of an optimizer step, in seconds."""
    peak_memory_mib: float
    """Largest resident size of the process (or allocation of the GPU) during this run, in MiB."""
    objective_name: str = OBJECTIVE
    """The figure that sweeps maximise."""
    notes: dict[str, object] = field(default_factory=dict)
    """What else the run has to say: number of parameters, number of views, samples of each split, the ceiling of
    recall.
    """

    @property
    def objective(self) -> float:
        """What a sweeper maximises, NaN where there was no validation."""
        return self.metrics.get(self.objective_name, math.nan)

    def write(self, name: str) -> None:
        """Writes `name` (summary.json, or evaluation.json where nothing was trained) into the run's folder."""
        body = {key: value for key, value in vars(self).items() if key not in ("folder", "notes", "objective_name")}
        write_summary(self.folder / name, {**body, **self.notes, "versions": versions()})


def record_failure(folder: Path, reason: str, name: str = SUMMARY, status: str = "failed") -> None:
    """Writes the summary of a run (with EVALUATION: of an evaluation) that failed or, by `status`, was interrupted;
    `reason` in words.

    The summary of a run that has ended is kept: an interrupted report, or a failed attempt to continue the run, does
    not change its figures. Where it cannot be written, as the disk may be why the run failed, there is none.
    """
    if read_summary(folder, name).get("status") in ENDED:
        return
    with suppress(OSError):
        write_summary(folder / name, {"status": status, "reason": reason, "versions": versions()})


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has ended with all that it makes: figures, analysis and report."""
    return read_summary(folder).get("status") in ENDED and not (folder / UNFINISHED).exists()


def read_summary(folder: Path, name: str = SUMMARY) -> dict:
    """What the run in `folder` has recorded; nothing where there is no whole file, or where it holds something else."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("metrics", {}), dict) else {}


def write_summary(path: Path, body: dict) -> None:
    """Strict JSON: numbers that are not finite become null."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(finite(body), indent=2, allow_nan=False) + "\n")


def finite(value: object) -> object:
    """`value` with every float that is not finite replaced by None, in nested dictionaries and lists too."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
