"""Runs on a table without a column of splits: a run that is continued, and a run of two processes, have the same rows
as an uninterrupted run of one process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from model.command import command_line
from tests.conftest import SMALL
from tests.data.table_folder import simple_rows, write_pictures, write_table
from tests.forked import together, train_until
from tests.run.test_run import assert_same_run

ROWS = 72
ENDED = {"train": 24, "val": 20, "test": 20}


@pytest.fixture
def table(tmp_path) -> Path:
    """A table with more pictures than the run uses, of which two cannot be read."""
    folder = write_pictures(tmp_path / "pictures", *range(ROWS))
    for number in (3, 40):
        (folder / f"{number:04}.png").write_bytes(b"")
    return write_table(folder / "metadata.jsonl", simple_rows(*range(ROWS)))


def arguments(table: Path, folder: Path, *more: str) -> list[str]:
    """The arguments of the smallest run on that table."""
    return [*SMALL, "data=table", f"data.root={table}", "model=clip", "loss=stock", f"hydra.run.dir={folder}", *more]


def summary(folder: Path) -> dict:
    """What the run says about its end."""
    return json.loads((folder / "summary.json").read_text())


def train(monkeypatch, *words: str) -> int:
    """`python train.py <words>`, in this process."""
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["train.py", *words])
        return command_line()


@pytest.mark.slow
def test_a_run_that_is_killed_within_an_epoch_is_continued_exactly(tmp_path, monkeypatch, table):
    """Before it is continued, pictures that it did not use appear, and the table is moved and gets another format."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(monkeypatch, *arguments(table, whole)) == 0
    saves = "trainer.checkpoint_every_n_steps=1"
    assert train_until(lambda module: module.global_step == 4, tmp_path / "out", *arguments(table, killed, saves)) < 0
    moved = table.parent.rename(tmp_path / "moved")
    write_pictures(moved, 3, 40)
    (moved / table.name).unlink()
    other = write_table(moved / "metadata.csv", simple_rows(*range(ROWS)))
    resumed = train_until(lambda module: False, tmp_path / "again", *arguments(other, killed, saves, "ckpt_path=last"))
    assert resumed == 0, (tmp_path / "again").read_text()
    assert summary(killed)["samples"] == ENDED
    assert_same_run(whole, killed)


@pytest.mark.slow
def test_two_processes_have_the_rows_of_one(tmp_path, monkeypatch, table):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(monkeypatch, *arguments(table, one)) == 0
    parallel = ("trainer.strategy=ddp", "trainer.devices=2", "data.batch_size=4")
    together(lambda: sys.exit(train(monkeypatch, *arguments(table, two, *parallel))), tmp_path)
    assert summary(two)["samples"] == ENDED
    assert (one / "data.json").read_text() == (two / "data.json").read_text()
    assert summary(two)["status"] == "complete"
