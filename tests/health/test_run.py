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
from tests.health.interrupted import run_until_error


@pytest.fixture
def spoil(monkeypatch):
    """Returns `spoil`: after `spoil({2})`, the features of these optimizer steps (counted from 0) are NaN."""
    good = NWayClip.forward

    def make(steps: set[int]) -> None:
        def forward(self, batch):
            views = good(self, batch)
            return views * math.nan if self.training and self.global_step in steps else views

        monkeypatch.setattr(NWayClip, "forward", forward)

    return make


def weights(folder, name="last") -> dict[str, torch.Tensor]:
    """Returns the weights of a checkpoint."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_a_skipped_step_gets_a_row_and_changes_nothing(small, spoil, tmp_path):
    spoil({2})
    summary = run(small("loss=normsv5", "monitor.every_n_steps=1", "monitor.activations=true"), tmp_path)
    assert summary.steps == {"attempted": 6, "applied": 5, "skipped": 1, "clipped": 0}
    rows = [row for row in csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()) if row["grad/skipped"]]
    assert [float(row["grad/skipped"]) for row in rows] == [0, 0, 1, 0, 0, 0]
    rates = [float(row["train/lr"]) for row in rows]
    assert rates[3] == rates[2], "the schedule did not move"
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert [row["step"] for row in read_history(tmp_path / "health.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert set(health_figures(tmp_path)) == {"gradient_norm", "gradient_heatmap", "gradient_flow", "activations"}


def test_the_noise_of_a_run_follows_from_its_seed(small, monkeypatch, tmp_path):
    seeds = []
    monkeypatch.setattr("model.health.step.add_seeded_noise", lambda *arguments: seeds.append(arguments[2]))
    run(small("loss=norms", "monitor.noise_std=0.01", "seed=3"), tmp_path)
    assert seeds == [3] * 6


def test_a_skipped_step_does_not_count_in_the_loss_of_its_epoch(small, spoil, tmp_path):
    spoil({1})
    overrides = (
        "loss=normsv5",
        "trainer.early_stopping_patience=3",
        "schedule=plateau",
        "schedule.patience=0",
        "schedule.warmup=0",
    )
    summary = run(small(*overrides), tmp_path)
    assert summary.status == "complete", "the run does not stop for a loss that is not finite"
    assert math.isfinite(summary.metrics["train/epoch_loss"])
    rates = {
        row["train/lr"]
        for row in csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())
        if row["train/lr"]
    }
    assert len(rates) == 1, "the mean of the first epoch is the best so far"


@pytest.mark.slow
def test_a_halted_run_resumes_from_its_last_good_weights(small, spoil, tmp_path):
    spoil({4})
    with pytest.raises(TrainingHalted):
        run(small("loss=normsv5", "monitor.on_nonfinite=halt"), tmp_path)
    record = json.loads((tmp_path / "halt.json").read_text())
    assert (record["step"], len(record["indices"])) == (5, 8)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "failed"
    spoil(set())
    summary = run(small("loss=normsv5", f"ckpt_path={tmp_path / 'checkpoints' / 'last_good.ckpt'}"), tmp_path)
    assert summary.steps == {"attempted": 5, "applied": 5, "skipped": 0, "clipped": 0}, (
        "four before, and the batch after the bad one"
    )


def test_a_run_without_an_applied_step_fails(small, spoil, tmp_path):
    """Its figures would describe the initial weights."""
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
def test_a_failed_run_is_explained_in_two_lines(overrides, words, tmp_path, monkeypatch, capsys):
    """The exit code is 1, and there is no traceback."""
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")
    monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, *overrides, f"hydra.run.dir={tmp_path}", *quiet])
    assert command_line() == 1
    output = capsys.readouterr().err
    assert "Traceback" not in output
    assert all(word in "\n".join(output.splitlines()[-2:]) for word in words)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "failed"


def rows_with(folder, column: str) -> list[int]:
    """Returns the steps at which metrics.csv has a value of `column`."""
    return [
        int(row["step"]) for row in csv.DictReader((folder / "metrics.csv").read_text().splitlines()) if row[column]
    ]


@pytest.mark.slow
def test_a_resumed_run_has_the_rows_of_an_uninterrupted_one(small, tmp_path):
    shared = ("loss=normsv5", "trainer.log_every_n_steps=4", "trainer.checkpoint_every_n_steps=2")
    run(small(*shared), tmp_path / "uninterrupted")
    assert rows_with(tmp_path / "uninterrupted", "train/loss") == [1, 4, 6]
    assert rows_with(tmp_path / "uninterrupted", "grad/global_norm") == [1, 6]
    assert [row["step"] for row in read_history(tmp_path / "uninterrupted" / "health.jsonl")] == [1, 6]
    run_until_error(small(*shared), tmp_path / "resumed", step=5)
    assert rows_with(tmp_path / "resumed", "train/loss") == [1, 4]
    run(small(*shared, "ckpt_path=last"), tmp_path / "resumed")
    for name in ("metrics.csv", "health.jsonl"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "uninterrupted" / name).read_bytes()


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_clipping_is_lightnings_bit_for_bit(small, tmp_path, precision):
    shared = ["loss=norms", "trainer.max_epochs=1", f"trainer.precision={precision}"]
    run(small(*shared, "monitor.clip=0.01"), tmp_path / "ours")
    run(small(*shared, "trainer.gradient_clip_val=0.01", "monitor=off"), tmp_path / "theirs")
    ours, theirs = weights(tmp_path / "ours"), weights(tmp_path / "theirs")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
