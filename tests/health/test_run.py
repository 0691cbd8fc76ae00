"""Gradient health in whole runs of the project's own module."""

from __future__ import annotations

import csv
import json
import math
import sys

import pytest
import torch

from model.command import command_line
from model.errors import RunFailed
from model.health import TrainingHalted
from model.module import NWayClip
from model.record.health_jsonl import read_history
from model.report.health_plots import health_figures
from model.run import run
from tests.conftest import SMALL


@pytest.fixture
def spoil(monkeypatch):
    """`spoil({2})`: from then on the features of these optimizer steps (from 0) are NaN."""
    good = NWayClip.forward

    def make(steps: set[int]) -> None:
        def forward(self, batch):
            views = good(self, batch)
            return views * math.nan if self.training and self.global_step in steps else views

        monkeypatch.setattr(NWayClip, "forward", forward)

    return make


def weights(folder, name="last") -> dict[str, torch.Tensor]:
    """The weights of a checkpoint."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_a_skipped_step_costs_a_row_and_nothing_else(small, spoil, tmp_path):
    spoil({2})
    summary = run(small("loss=normsv5", "monitor.every_n_steps=1", "monitor.activations=true"), tmp_path)
    assert summary.steps == {"attempted": 6, "applied": 5, "skipped": 1, "clipped": 0}
    rows = [row for row in csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()) if row["grad/skipped"]]
    assert [float(row["grad/skipped"]) for row in rows] == [0, 0, 1, 0, 0, 0]
    rates = [float(row["train/lr"]) for row in rows]
    assert rates[3] == rates[2], "the schedule waited"
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert [row["step"] for row in read_history(tmp_path / "health.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert set(health_figures(tmp_path)) == {"gradient_norm", "gradient_heatmap", "gradient_flow", "activations"}


def test_a_skipped_step_is_no_part_of_what_an_epoch_is_judged_by(small, spoil, tmp_path):
    spoil({1})
    overrides = (
        "loss=normsv5",
        "trainer.early_stopping_patience=3",
        "schedule=plateau",
        "schedule.patience=0",
        "schedule.warmup=0",
    )
    summary = run(small(*overrides), tmp_path)
    assert summary.status == "complete", "not stopped for a loss that is not finite"
    assert math.isfinite(summary.metrics["train/epoch_loss"])
    rates = {
        row["train/lr"]
        for row in csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())
        if row["train/lr"]
    }
    assert len(rates) == 1, "the first epoch's mean is a best one"


def test_a_halted_run_goes_on_from_its_last_good_weights(small, spoil, tmp_path):
    spoil({4})
    with pytest.raises(TrainingHalted):
        run(small("loss=normsv5", "monitor.on_nonfinite=halt"), tmp_path)
    told = json.loads((tmp_path / "halt.json").read_text())
    assert (told["step"], len(told["indices"])) == (5, 8)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "failed"
    spoil(set())
    summary = run(small("loss=normsv5", f"ckpt_path={tmp_path / 'checkpoints' / 'last_good.ckpt'}"), tmp_path)
    assert summary.steps == {"attempted": 5, "applied": 5, "skipped": 0, "clipped": 0}, (
        "four before, and the batch after the bad one"
    )


def test_a_run_in_which_no_step_was_applied_is_a_failed_one(small, spoil, tmp_path):
    """Its figures would be those of the weights that it began with."""
    spoil(set(range(6)))
    reason = "none of the 6 optimizer steps was applied: loss or gradient was not finite in all of them"
    with pytest.raises(RunFailed, match=reason):
        run(small("loss=normsv5"), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("failed", reason)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("optimizer.lr=1e10", "monitor.max_skips=2"), ("training halted at step 4: ", "halt.json")),
        pytest.param(
            ("data.train_size=4000", "trainer.accumulate_grad_batches=500", "trainer.max_time=00:00:00:01"),
            ("no optimizer step was made",),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_that_cannot_end_says_so_in_two_lines(overrides, words, tmp_path, monkeypatch, capsys):
    """Exit code 1, no traceback."""
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")
    monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, *overrides, f"hydra.run.dir={tmp_path}", *quiet])
    assert command_line() == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert all(word in "\n".join(told.splitlines()[-2:]) for word in words)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "failed"


def rows_with(folder, column: str) -> list[int]:
    """The steps at which metrics.csv has a value of `column`."""
    return [
        int(row["step"]) for row in csv.DictReader((folder / "metrics.csv").read_text().splitlines()) if row[column]
    ]


def test_a_short_run_shows_its_first_and_last_step_and_a_continued_one_the_same(small, tmp_path, monkeypatch):
    shared = ("loss=normsv5", "trainer.log_every_n_steps=4", "trainer.checkpoint_every_n_steps=2")
    run(small(*shared), tmp_path / "whole")
    assert rows_with(tmp_path / "whole", "train/loss") == [1, 4, 6]
    assert rows_with(tmp_path / "whole", "grad/global_norm") == [1, 6]
    assert [row["step"] for row in read_history(tmp_path / "whole" / "health.jsonl")] == [1, 6]
    good = NWayClip.training_step

    def breaks(self, *batch):
        if self.global_step == 5:
            raise RuntimeError("cut")
        return good(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(NWayClip, "training_step", breaks)
        with pytest.raises(RuntimeError, match="cut"):
            run(small(*shared), tmp_path / "cut")
    assert rows_with(tmp_path / "cut", "train/loss") == [1, 4]
    run(small(*shared, "ckpt_path=last"), tmp_path / "cut")
    for name in ("metrics.csv", "health.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_clipping_is_lightnings_bit_for_bit(small, tmp_path, precision):
    shared = ["loss=norms", "trainer.max_epochs=1", f"trainer.precision={precision}"]
    run(small(*shared, "monitor.clip=0.01"), tmp_path / "ours")
    run(small(*shared, "trainer.gradient_clip_val=0.01", "monitor=off"), tmp_path / "theirs")
    ours, theirs = weights(tmp_path / "ours"), weights(tmp_path / "theirs")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
