"""Sweeps: they end with a comparison, whatever a job does, and continue after an interruption."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path, hash_in_checkpoint
from model.module import NWayClip
from tests.conftest import SMALL
from tests.forked import train_until
from tests.run.sweeps import compared, contents, job_folder, sweep, sweep_here

__all__ = ["sweep"]
CLIP = ("model=clip", "model.captions=1", "loss=stock")


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    """The folder of a finished sweep of one job."""
    place = tmp_path_factory.mktemp("ended")
    assert sweep_here(place, "sweep", *CLIP, "seed=1") == 0
    return place / "sweep"


@pytest.fixture
def job(ended, tmp_path) -> Path:
    """The folder of that job, in a copy of the sweep for one test, which `sweep(*CLIP, "seed=1")` continues."""
    return job_folder(shutil.copytree(ended, tmp_path / "sweep"), "stock_seed1")


def test_a_sweep_ends_with_a_comparison(sweep, tmp_path):
    assert sweep("loss=stock,norms", "seed=1,2", "model.captions=2") == 0
    rows = compared(tmp_path / "sweep")
    assert sorted((row["loss"], row["seeds"]) for row in rows) == [("norms", "1 2"), ("stock", "1 2")]
    assert {path.name for path in (tmp_path / "sweep").glob("comparison.*")} == {
        "comparison.csv",
        "comparison.md",
        "comparison.png",
    }
    best = json.loads((job_folder(tmp_path / "sweep", f"{rows[0]['loss']}_seed1") / "summary.json").read_text())
    assert float(rows[0]["val/recall@1 by seed"].split()[0]) == best["metrics"]["val/recall@1"]


def test_further_processes_start_with_the_folder_of_the_sweep(sweep, tmp_path, monkeypatch):
    """Lightning starts them in another second, with the arguments in sys.argv."""
    last_argument = []
    monkeypatch.setattr("model.command.sweep_job", lambda composed, folder: last_argument.append(sys.argv[-1]))
    sweep("seed=1", folder="${now:%Y-%m-%d_%H-%M-%S-%f}")
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert last_argument == [f'hydra.sweep.dir="{folder.name}"']


@pytest.mark.slow
def test_a_killed_sweep_continues_with_the_comparison_of_an_uninterrupted_one(sweep, tmp_path):
    """SIGKILL in the second epoch of the second job: the first job is not run again, the second continues."""
    arguments = (*CLIP, "seed=1,2,3")
    assert sweep(*arguments, folder="reference") == 0
    killed = tmp_path / "killed"
    code = train_until(
        lambda module: module.global_step == 4 and "_seed2_" in str(module.trainer.default_root_dir),
        tmp_path / "output",
        *("-m", *SMALL, f"hydra.sweep.dir={killed}", *arguments),
    )
    assert code == -signal.SIGKILL
    finished, half_done = job_folder(killed, "stock_seed1"), job_folder(killed, "stock_seed2")
    assert checkpoint_path(half_done, "last").is_file()
    assert not (half_done / "summary.json").exists()
    before = contents(finished)
    started_at = []
    watch_starts(started_at)
    assert sweep(*arguments, folder="killed") == 0
    assert contents(finished) == before
    assert started_at == [3, 0], "the second job continues after its first epoch, the third starts"
    assert compared(killed) == compared(tmp_path / "reference")
    assert (half_done / "metrics.csv").read_bytes() == (
        job_folder(tmp_path / "reference", "stock_seed2") / "metrics.csv"
    ).read_bytes()


@pytest.fixture(autouse=True)
def _unwatched():
    """Restores the training step after each test."""
    step = NWayClip.training_step
    yield
    NWayClip.training_step = step


def watch_starts(started_at: list[int]) -> None:
    """Collects the optimizer step that each training begins with."""
    step, seen = NWayClip.training_step, set()

    def watched(self, batch, index):
        if id(self) not in seen:
            seen.add(id(self))
            started_at.append(self.global_step)
            modules.append(self)  # so that no other object gets the same id
        return step(self, batch, index)

    modules: list[NWayClip] = []
    NWayClip.training_step = watched


@pytest.mark.slow
def test_a_sweep_that_grew_runs_only_what_is_new(sweep, tmp_path):
    """A value in the middle of the list changes the numbers of the jobs, but not their folders."""
    assert sweep(*CLIP, "optimizer.lr=0.001,0.002", "seed=1") == 0
    jobs = list((tmp_path / "sweep").glob("stock_*"))
    before = [contents(job) for job in jobs]
    started_at = []
    watch_starts(started_at)
    assert sweep(*CLIP, "optimizer.lr=0.001,0.0015,0.002", "seed=1") == 0
    assert started_at == [0]
    assert len(jobs) == 2
    assert [contents(job) for job in jobs] == before
    assert sorted(row["optimizer.lr"] for row in compared(tmp_path / "sweep")) == ["0.001", "0.0015", "0.002"]


@pytest.mark.slow
def test_a_job_killed_before_its_summary_is_only_evaluated_again(sweep, job, tmp_path):
    """Training was complete: nothing is trained, and every metric is measured again."""
    before = compared(tmp_path / "sweep")
    summary = job / "summary.json"
    summary.write_text(summary.read_text()[:40])
    started_at = []
    watch_starts(started_at)
    assert sweep(*CLIP, "seed=1") == 0
    assert started_at == []
    assert compared(tmp_path / "sweep") == before


@pytest.mark.slow
def test_a_job_killed_before_its_first_checkpoint_starts_again(sweep, job, tmp_path):
    before = compared(tmp_path / "sweep"), (job / "metrics.csv").read_bytes()
    shutil.rmtree(job / "checkpoints")
    (job / "summary.json").unlink()
    assert sweep(*CLIP, "seed=1") == 0
    assert (compared(tmp_path / "sweep"), (job / "metrics.csv").read_bytes()) == before


@pytest.mark.slow
def test_another_split_to_evaluate_needs_no_training(sweep, job):
    before = json.loads((job / "summary.json").read_text())["metrics"]
    started_at = []
    watch_starts(started_at)
    assert sweep(*CLIP, "seed=1", "evaluate=[test,train]") == 0
    after = json.loads((job / "summary.json").read_text())["metrics"]
    assert started_at == []
    assert after["train/recall@10"] > 0
    assert {key: after[key] for key in before if not key.startswith("train/")} == {
        key: before[key] for key in before if not key.startswith("train/")
    }


@pytest.mark.slow
def test_checkpoints_can_be_compared_without_training(sweep, job, tmp_path):
    checkpoints = [str(checkpoint_path(job, name)) for name in ("last", "best")]
    assert (
        sweep(
            *CLIP, "seed=1", "train=false", f"ckpt_path={','.join(checkpoints)}", "evaluate=[val]", folder="evaluated"
        )
        == 0
    )
    rows = compared(tmp_path / "evaluated")
    assert {row["ckpt_path"] for row in rows} == set(checkpoints)
    assert all(row["val/recall@1"] for row in rows)


@pytest.mark.slow
def test_a_failed_job_is_listed_and_run_again(sweep, tmp_path):
    """One job has a value out of range, another one an error in a step. The command exits with 1 as long as the folder
    holds a failed job.
    """

    def breaks(self, batch, index):
        if self.global_step == 1:
            raise RuntimeError("out of memory")
        return step(self, batch, index)

    step = NWayClip.training_step
    NWayClip.training_step = breaks
    assert sweep(*CLIP, "seed=1", "optimizer.lr=-1.0,0.001") == 1
    rows = compared(tmp_path / "sweep")
    reasons = [
        "seed 1: optimizer.lr=-1.0 is not positive; allowed: a number above 0",
        "seed 1: RuntimeError: out of memory",
    ]
    assert [row["failures"] for row in rows] == reasons
    NWayClip.training_step = step
    assert sweep(*CLIP, "seed=1", "optimizer.lr=0.001") == 1, "the impossible job is still in the folder"
    assert sorted((row["ok"], row["failures"]) for row in compared(tmp_path / "sweep")) == [
        ("0", reasons[0]),
        ("1", ""),
    ]


def test_results_of_another_configuration_are_refused_and_left_alone(sweep, job, capsys):
    summary = job / "summary.json"
    other = summary.read_text().replace(json.loads(summary.read_text())["config_hash"], "0" * 12)
    summary.write_text(other)
    assert sweep(*CLIP, "seed=1") == 2
    assert "holds results of another configuration" in capsys.readouterr().err
    assert summary.read_text() == other


@pytest.mark.slow
def test_a_sweep_of_failures_says_so(sweep, capsys):
    assert sweep(*CLIP, "optimizer.lr=-1.0,-2.0") == 1
    assert "no job of the sweep has ended with figures; sweep/comparison.md has the reasons" in capsys.readouterr().err


def test_folders_of_jobs_cannot_be_named(sweep, capsys):
    assert sweep(*CLIP, "seed=1", "hydra.sweep.subdir=0") == 2
    assert "hydra.sweep.subdir=0 cannot be set" in capsys.readouterr().err


def test_the_hash_in_a_checkpoint_is_read_without_its_tensors(job, tmp_path):
    assert (
        hash_in_checkpoint(checkpoint_path(job, "last"))
        == json.loads((job / "summary.json").read_text())["config_hash"]
    )
    other = torch.load(checkpoint_path(job, "last"), weights_only=True) | {"callbacks": {}}
    torch.save(other, tmp_path / "other.ckpt")
    assert hash_in_checkpoint(tmp_path / "other.ckpt") is None
