"""One job of a sweep: its folder, the lock of the folder, and its objective."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from omegaconf import OmegaConf

from model.config.compose import job_hash
from model.job import WORST, finite_objective
from model.record.folder import UsedFolder, only_writer
from tests import forked


def test_a_job_waits_while_another_process_runs_it(tmp_path):
    """The process that holds the folder is killed: the lock goes with it."""

    def hold() -> None:
        with only_writer(tmp_path, waits=True):
            (tmp_path / "held").touch()
            time.sleep(60)

    holder = forked.start(hold, tmp_path / "output")
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(UsedFolder, match="is in use by another process"), only_writer(tmp_path, waits=False):
        pass
    entered = threading.Event()

    def second() -> None:
        with only_writer(tmp_path, waits=True):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.3)
    os.kill(holder, signal.SIGKILL)
    assert entered.wait(5)
    thread.join()
    assert forked.ended(holder) == -signal.SIGKILL


def test_the_name_of_a_folder_depends_on_the_job_only():
    def name(**values: object) -> str:
        return job_hash(
            _root_=OmegaConf.create(
                {"seed": 1, "lr": "${base}", "base": 0.1, "ckpt_path": None, "evaluate": [], "hydra": {}, **values}
            )
        )

    assert name() == name(evaluate=["test"]) == name(hydra={"job": {"num": 3}}) == name(lr=0.1)
    assert len({name(), name(seed=2), name(base=0.2), name(ckpt_path="a.ckpt"), name(ckpt_path="b.ckpt")}) == 5


def test_a_missing_objective_counts_as_the_worst(tmp_path):
    assert [finite_objective(value, tmp_path) for value in (0.25, None, float("nan"), float("inf"))] == [
        0.25,
        WORST,
        WORST,
        WORST,
    ]
