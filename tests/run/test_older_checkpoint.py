"""A run that commit b09aa08 began, and that was killed, continues: tests/golden/interrupted_b09aa08."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.run.sweeps import sweep

__all__ = ["sweep"]
OLD = Path(__file__).parents[1] / "golden" / "interrupted_b09aa08"
JOB = "norms_seed1_930345f618b8"
# The settings of that run which are neither in its command nor in that of the `sweep` fixture, and defaults that have
# changed since.
THEN = (
    *("trainer=default", "trainer.max_epochs=6"),
    *("backbone.lr=4e-3", "backbone.translator_norm=post", "backbone.translator_init=marian"),
)


@pytest.fixture
def job(tmp_path) -> Path:
    """A copy of the killed job in a sweep's folder; Hydra's files are kept without the dot that hides them."""
    folder = shutil.copytree(OLD / JOB, tmp_path / "sweep" / JOB)
    (folder / "hydra").rename(folder / ".hydra")
    return folder


def command() -> list[str]:
    return json.loads((OLD / "command.json").read_text(encoding="utf-8"))


def training_rows(path: Path) -> list[dict[str, float]]:
    """The rows of training steps; validations were measured in another way then."""
    with open(path, newline="") as file:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if "train/loss" in row]


def test_a_killed_job_continues_as_that_version_would_have(sweep, job):
    """Its counts continue too: 6 of 40 steps were clipped, as the last row of uninterrupted.csv says (0.15)."""
    before = training_rows(job / "metrics.csv")
    assert sweep(*command(), *THEN) == 0
    assert [path.name for path in job.parent.glob("*_seed1_*")] == [JOB]
    rows, expected = training_rows(job / "metrics.csv"), training_rows(OLD / "uninterrupted.csv")
    assert [row["step"] for row in rows] == list(range(4, 41, 4))
    assert rows[:2] == before[:2] == expected[:2]
    for row, wanted in zip(rows, expected, strict=True):
        assert {key: row[key] for key in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-7)
    steps = json.loads((job / "summary.json").read_text(encoding="utf-8"))["steps"]
    assert (steps["attempted"], steps["applied"], steps["clipped"], steps["skipped"]) == (40, 40, 6, 0)


def test_a_changed_default_is_refused_in_a_sentence(sweep, job, capsys):
    """The weights in the checkpoint are those of another model."""
    arguments = [*command(), *THEN[:3], f"ckpt_path={job / 'checkpoints' / 'last.ckpt'}"]
    assert sweep(*arguments) == 1
    assert "translator_norm" in (next(job.parent.glob("*/summary.json"))).read_text(encoding="utf-8")
