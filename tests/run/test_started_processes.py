"""Processes that torchrun or srun has started: they use one folder, agree on decisions, and do not wait forever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from model import failures, launch
from model.errors import RunFailed
from model.launch import Board
from tests.conftest import SMALL
from tests.run.sweeps import compared, contents

ROOT = Path(__file__).resolve().parents[2]
TWO = (*SMALL, "data.train_size=48", "trainer=ddp", "model=clip", "model.captions=1", "loss=stock")
VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_JOB_NAME",
    launch.STORE,
)
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train.sh"}


@pytest.fixture(autouse=True)
def _started_by_hand(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1),
        ({**TORCHRUN, "RANK": "0"}, 0),
        ({**TORCHRUN, "RANK": "2"}, 2),
        ({**SRUN, "SLURM_PROCID": "0"}, 0),
        ({**SRUN, "SLURM_PROCID": "3"}, 3),
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash", "LOCAL_RANK": "1"}, 1),
    ],
)
def test_which_process_is_the_first(monkeypatch, variables, rank):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.rank() == rank
    assert launch.first_process() == (rank == 0)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node[3-5,8]", "node3"),
        ("gpu-[001-004]", "gpu-001"),
        ("one two", "one"),
        ("one,two", "one"),
        ("rack1-n[02,05-07],rack2", "rack1-n02"),
    ],
)
def test_the_first_node_of_a_list_of_slurm(monkeypatch, nodes, first):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("SLURM_NODELIST", nodes)
    assert launch.slurm_host() == first


def test_earlier_decisions_of_the_first_process_reach_the_others(monkeypatch):
    first, second = Board(), Board()
    assert first.agree("job/start", lambda: "last.ckpt") == "last.ckpt"
    first.open_store(2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert second.join()
    assert second.agree("job/start", lambda: pytest.fail("the first process decides")) == "last.ckpt"
    second.close()
    first.close()


def test_the_reason_of_another_process_replaces_a_lost_connection(monkeypatch, tmp_path):
    first, second = Board(), Board()
    first.open_store(2)
    lost, reason = RuntimeError("connection closed by peer"), RunFailed("val: a picture is gone\nrestore it")
    monkeypatch.setattr(failures, "board", first)
    assert failures.explanation(lost, tmp_path) is lost
    with monkeypatch.context() as patch:
        patch.setenv("LOCAL_RANK", "1")
        patch.setattr(os, "getppid", os.getpid)
        assert second.join()
        patch.setattr(failures, "board", second)
        assert failures.explanation(reason, tmp_path) is reason
    agreed = failures.explanation(lost, tmp_path)
    assert (type(agreed), str(agreed)) == (RunFailed, str(reason))
    assert failures.explanation(lost, tmp_path / "another") is lost
    second.close()
    first.close()


def started(kind: str, place: Path, *arguments: str) -> tuple[list[int], str]:
    """Starts `train.py <arguments>` in `place` as torchrun or srun would; returns the exit codes and the output.

    torchrun has one exit code, srun has one for each task.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(ROOT / "train.py"), *arguments]
    if kind == "torchrun":
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node=2",
            f"--master_port={port}",
            *command,
        ]
        processes = [start(command, place, {})]
    else:
        shared = {
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_NODEID": "0",
            "SLURM_JOB_ID": str(port),
            "SLURM_NODELIST": "127.0.0.1",
        }
        ranks = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in (0, 1)]
        processes = [start([sys.executable, *command], place, shared | rank) for rank in ranks]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    return [process.returncode for process in processes], "\n".join(outputs)


def start(command: list[str], place: Path, variables: Mapping[str, str]) -> subprocess.Popen:
    """Starts a process whose output can be read."""
    return subprocess.Popen(
        command, cwd=place, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchrun", "srun"])
def test_one_folder_that_no_second_run_overwrites(tmp_path, kind):
    codes, output = started(kind, tmp_path, *TWO)
    assert set(codes) == {0}, output
    (folder,) = tmp_path.glob("outputs/*/*")
    before = contents(folder)
    codes, output = started(kind, tmp_path, *TWO, "seed=1", f"hydra.run.dir={folder}")
    assert codes[0] == {"torchrun": 1, "srun": 2}[kind], output
    assert "holds a run already" in output
    assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchrun", "srun"])
def test_a_finished_sweep_counts_as_done(tmp_path, kind):
    codes, output = started(kind, tmp_path, "-m", *TWO, "seed=1,2")
    assert set(codes) == {0}, output
    (folder,) = tmp_path.glob("multirun/*")
    assert compared(folder)[0]["seeds"] == "1 2"
    before = [contents(job) for job in sorted(folder.glob("stock_*"))]
    codes, output = started(kind, tmp_path, "-m", *TWO, "seed=1,2", f"hydra.sweep.dir={folder}")
    assert set(codes) == {0}, output
    assert [contents(job) for job in sorted(folder.glob("stock_*"))] == before


def test_the_single_process_of_a_batch_script_does_not_wait(monkeypatch):
    """It has the variables of srun, as if three more had been started."""
    for name, value in {**SRUN, "SLURM_PROCID": "0", "SLURM_JOB_ID": "7654"}.items():
        monkeypatch.setenv(name, value)
    alone = Board()
    assert alone.join()
    alone.publish(launch.PLACE, {"arguments": []})
    began = time.monotonic()
    alone.leave(0)
    assert time.monotonic() - began < launch.PATIENCE / 2
    alone.close()
