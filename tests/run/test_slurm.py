"""Jobs of Slurm: SIGUSR1 requeues a job, and its command then continues without ckpt_path=last."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from model.checkpoint.files import checkpoint_path
from model.record.summary import read_summary
from tests.run.interrupting import RUN, assert_equal_runs, interrupted, run_here


@pytest.fixture
def requeued(tmp_path, monkeypatch) -> Path:
    """A file with the arguments of all calls of `scontrol`."""
    calls, command = tmp_path / "scontrol_calls", tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n')
    command.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    variables = {
        "JOB_ID": "123",
        "JOB_NAME": "train.sh",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "NODELIST": "localhost",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return calls


@pytest.mark.slow
def test_a_job_is_requeued_and_continues(requeued, tmp_path, monkeypatch):
    folder, reference = tmp_path / "folder", tmp_path / "reference"
    code, lines = interrupted("training", signal.SIGUSR1, tmp_path / "output", *RUN, f"hydra.run.dir={folder}")
    assert (code, lines[1]) == (128 + signal.SIGUSR1, "job 123 is requeued")
    assert requeued.read_text() == "requeue 123\n"
    assert read_summary(folder)["status"] == "interrupted"
    assert [path.name for path in folder.rglob("*.ckpt")].count("last.ckpt") == 1
    assert not list(folder.glob("hpc_ckpt*"))
    assert run_here(*RUN, f"hydra.run.dir={reference}") == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_here(*RUN, f"hydra.run.dir={folder}") == 0
    assert_equal_runs(reference, folder)


@pytest.mark.slow
def test_a_task_of_an_array_is_requeued_before_it_has_begun(requeued, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    folder = tmp_path / "folder"
    assert (
        interrupted("preparation", signal.SIGUSR1, tmp_path / "output", *RUN, f"hydra.run.dir={folder}")[0]
        == 128 + signal.SIGUSR1
    )
    assert requeued.read_text() == "requeue 9_4\n"
    (folder / "slurm-9.out").write_text("written by Slurm")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_here(*RUN, f"hydra.run.dir={folder}") == 0
    assert (folder / "slurm-9.out").is_file(), "the folder may hold files of the user"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_other_signals_and_shells_are_not_requeued(requeued, tmp_path, monkeypatch, number):
    if number == signal.SIGUSR1:
        monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert (
        interrupted("training", number, tmp_path / "output", *RUN, f"hydra.run.dir={tmp_path / 'folder'}")[0]
        == 128 + number
    )
    assert not requeued.exists()


@pytest.mark.slow
def test_a_job_without_scontrol_says_so(requeued, tmp_path, monkeypatch):
    shutil.rmtree(tmp_path / "bin")
    code, lines = interrupted(
        "training", signal.SIGUSR1, tmp_path / "output", *RUN, f"hydra.run.dir={tmp_path / 'folder'}"
    )
    assert code == 128 + signal.SIGUSR1
    assert lines[1].startswith("job 123 could not be requeued (")


@pytest.mark.slow
def test_a_checkpoint_of_lightnings_own_handler_is_not_evaluated(requeued, tmp_path):
    """Lightning would load it in place of the best weights, without a message."""
    run = tmp_path / "run"
    assert run_here(*RUN, f"hydra.run.dir={run}") == 0
    before = read_summary(run)["metrics"]
    other = tmp_path / "other"
    assert run_here(*RUN, "seed=7", f"hydra.run.dir={other}") == 0
    shutil.copy(checkpoint_path(other, "last"), run / "hpc_ckpt_1.ckpt")
    assert run_here(*RUN, f"hydra.run.dir={run}", "ckpt_path=last") == 0
    assert read_summary(run)["metrics"] == before
    assert (run / "checkpoints" / "hpc_ckpt_1.ckpt").is_file()
