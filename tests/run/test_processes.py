"""Two processes train as one with the whole batch: every sample is the negative of all others, the metrics are written
once.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.command import command_line
from model.run import run
from tests.conftest import SMALL
from tests.forked import together

ROOT = Path(__file__).resolve().parents[2]


TWO = ("trainer.strategy=ddp", "trainer.devices=2", "data.batch_size=8")
OVERRIDES = ("data.train_size=48", "data.test_size=21", "monitor.every_n_steps=1", "analysis=standard")


def train_here(*arguments: str) -> None:
    """`python train.py <arguments>` in this process, which ends with it."""
    sys.argv = ["train.py", *arguments]
    sys.exit(command_line())


def rows_of(folder: Path) -> list[dict[str, str]]:
    """metrics.csv of a run."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_of_8_equal_one_of_16(small, tmp_path):
    """Losses, gradient norms and recall of every row; float32 sums are taken in another order. 21 test samples cannot
    be shared evenly; the first process analyses all of them alone, and the other ends without waiting.
    """
    two = [*SMALL, *OVERRIDES, *TWO, f"hydra.run.dir={tmp_path / 'two'}"]
    together(lambda: train_here(*two), tmp_path)
    run(small(*OVERRIDES, "data.batch_size=16"), tmp_path / "one")
    two, one = (rows_of(tmp_path / name) for name in ("two", "one"))
    assert [row["step"] for row in two] == [row["step"] for row in one]
    for key in (
        *("train/loss", "train/logit_scale", "grad/global_norm", "val/recall@5", "val/loss", "val/swap_acc"),
        *("geometry/uniformity/image", "drift/image/cosine_to_previous"),
    ):
        assert [float(row[key]) for row in two if row[key]] == pytest.approx(
            [float(row[key]) for row in one if row[key]], rel=1e-3
        ), key
    tested = [
        json.loads((tmp_path / name / "summary.json").read_text())["metrics"]["test/loss"] for name in ("two", "one")
    ]
    assert tested[0] == pytest.approx(tested[1], rel=1e-3)
    assert_same_analysis(*(json.loads((tmp_path / name / "analysis.json").read_text()) for name in ("two", "one")))


def assert_same_analysis(two: dict, one: dict) -> None:
    """The same parts of the same samples."""
    assert two.keys() == one.keys()
    assert two["retrieval"]["test"]["samples"] == 21
    for name, value in one["geometry"]["test"]["uniformity"].items():
        assert two["geometry"]["test"]["uniformity"][name] == pytest.approx(value, rel=1e-3), name


@pytest.mark.slow
def test_lightning_starts_the_second_process(tmp_path):
    """`python train.py trainer.devices=2`, as users type it."""
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *OVERRIDES, *TWO, f"hydra.run.dir={tmp_path / 'two'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["steps"]["applied"] == 6
