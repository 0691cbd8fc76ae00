"""A sweep's folder made by hand: its jobs are files in the form that runs leave them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import yaml

from model.report.sweep_report import write_comparison

# Student's t for 95 % and 1 or 2 degrees of freedom, in closed form.
T1, T2 = math.tan(0.475 * math.pi), 0.95 / math.sqrt(2 * 0.975 * 0.025)


def write_job(
    sweep: Path,
    name: str,
    config: dict[str, Any],
    summary: dict[str, Any] | str | None,
    overrides: tuple[str, ...] = (),
) -> None:
    """Writes a job's folder as a run leaves it. A summary that is a string is written unchanged."""
    hydra = sweep / name / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    (hydra / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if summary is not None:
        (sweep / name / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))


def settings(loss: str = "stock", seed: int = 1, lr: float | str = 0.001, **more: Any) -> dict[str, Any]:
    """Returns a configuration."""
    return {
        "loss": {"name": loss, "eps": 1e-8},
        "optimizer": {"lr": lr},
        "backbone": {"lr": 0.001},
        "seed": seed,
        "evaluate": ["test"],
        **more,
    }


def done(recall: float | None, **more: Any) -> dict[str, Any]:
    """Returns the summary of a job that ended."""
    return {
        "status": "complete",
        "metrics": {"val/recall@1": recall, "test/recall@1": 0.5, "val/loss": 1.5},
        "steps": {"attempted": 10, "applied": 9, "skipped": 1, "clipped": 4},
        "step_seconds": 0.25,
        "peak_memory_mib": 700.0,
        "samples": {"val": 50, "test": 100},
        "ceiling": {"val": {"recall@1": 0.9}},
        **more,
    }


def rows_of(sweep: Path) -> list[dict[str, str]]:
    """Writes the comparison and returns the rows of comparison.csv."""
    write_comparison(sweep)
    with open(sweep / "comparison.csv", newline="") as file:
        return list(csv.DictReader(file))
