"""Picture files that disappear while a run uses them: training takes the next readable row, evaluation stops, a
continued run has the same rows.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import torch

from model.command import command_line
from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.loader import load_batches
from model.data.sampler import ordered_batches
from model.data.source import SplitSizes
from model.errors import ConfigError, RunFailed
from model.module import NWayClip
from model.run import run
from tests.conftest import SMALL, some
from tests.data.coco_folder import write_captions, write_folder
from tests.data.helpers import small_data
from tests.forked import together, train_until
from tests.run.test_run import assert_same_run

TRAIN, HELD_OUT = 24, 40
EPOCHS = 2


@pytest.fixture
def root(tmp_path) -> Path:
    """A COCO folder."""
    return write_folder(tmp_path / "coco", train=TRAIN, val=HELD_OUT)


def arguments(root: Path, *more: str) -> list[str]:
    """The arguments of the smallest run on that folder."""
    return [
        *SMALL,
        "data=coco",
        f"data.root={root}",
        "model=clip",
        "model.captions=1",
        "loss=stock",
        "data.vocab_size=300",
        *more,
    ]


def source(root: Path) -> Coco:
    """The source that a run makes."""
    return Coco(coco_parts(str(root), "2017"), SplitSizes(None, 20, 20), captions=5, image_size=32)


def remove(root: Path, part: str, *numbers: int) -> None:
    """Deletes pictures."""
    for number in numbers:
        (root / part / f"{number:04}.png").unlink()


def vanish_after_start(monkeypatch, root: Path, part: str, *numbers: int) -> None:
    """Makes pictures disappear after the source was made and before the first batch."""

    def vanish(module: NWayClip) -> None:
        for number in numbers:
            (root / part / f"{number:04}.png").unlink(missing_ok=True)

    monkeypatch.setattr(NWayClip, "on_fit_start", vanish)  # by then all processes have their rows


@pytest.mark.parametrize(
    ("lost", "instead"),
    [((3, 4), {3: 5, 4: 5}), ((22, 23, 0), {22: 1, 23: 1, 0: 1}), (range(1, 24), dict.fromkeys(range(1, 24), 0))],
)
@pytest.mark.parametrize("damage", ["missing", "half"])
def test_the_next_readable_row_takes_the_place(root, lost, instead, damage, caplog):
    data = small_data(source(root))
    whole = next(load_batches(data.dataset("train", training=True), ordered_batches(TRAIN, TRAIN), 0))
    for number in lost:
        file = root / "train2017" / f"{number:04}.png"
        file.unlink() if damage == "missing" else os.truncate(file, 100)
    caplog.clear()  # the messages of the source
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            batch = next(load_batches(data.dataset("train", training=True), ordered_batches(TRAIN, TRAIN), 0))
    expected = torch.tensor([instead.get(row, row) for row in range(TRAIN)])
    assert torch.equal(batch.indices, expected)
    assert torch.equal(batch.images, whole.images[expected])
    assert torch.equal(batch.captions, whole.captions[expected])
    assert len(caplog.messages) == len(lost)
    assert caplog.messages[0].startswith(f"{root / 'train2017' / f'{min(lost):04}.png'} ")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("split", "training"), [("val", False), ("train", False), ("train", True)])
def test_where_no_row_can_take_the_place_the_two_lines_name_the_file(root, split, training, workers):
    data = small_data(source(root))
    remove(root, f"{split}2017", *(range(TRAIN) if training else (2,)))
    before = set(multiprocessing.active_children())
    with pytest.raises(RunFailed) as error:
        list(load_batches(data.dataset(split, training=training), ordered_batches(20, 4), workers))
    reason = (
        "no picture of the split can be read"
        if training
        else f"{root / f'{split}2017' / '0002.png'} cannot be opened (No such file or directory)"
    )
    assert str(error.value).splitlines()[0].startswith(f"{split}: {reason}")
    assert len(str(error.value).splitlines()) == 2
    assert set(multiprocessing.active_children()) <= before  # the error keeps no worker


@pytest.mark.slow
def test_a_run_counts_replaced_rows_also_when_it_is_continued(small, tmp_path, monkeypatch, root):
    """Two of 24 pictures: 4 rows in two epochs, whether the run is interrupted or not."""
    folders = [tmp_path / name for name in ("whole", "killed")]
    vanish_after_start(monkeypatch, root, "train2017", 5, 6)
    run(small(*arguments(root)[len(SMALL) :]), folders[0])
    body = json.loads((folders[0] / "summary.json").read_text())
    assert (body["status"], body["replaced_rows"], body["samples"]["train"]) == ("complete", 4, TRAIN)
    for number in (5, 6):
        write_one(root, number)
    here = arguments(root, f"hydra.run.dir={folders[1]}", "trainer.checkpoint_every_n_steps=1")
    assert train_until(lambda module: module.global_step == 4, tmp_path / "output", *here) < 0
    resumed = train_until(lambda module: False, tmp_path / "said_again", *here, "ckpt_path=last")
    assert resumed == 0, (tmp_path / "said_again").read_text()
    assert_same_run(*folders)
    assert json.loads((folders[1] / "summary.json").read_text())["replaced_rows"] == 4


def write_one(root: Path, number: int) -> None:
    """Writes a picture again as it was."""
    again = write_folder(root.parent / f"again{number}", train=TRAIN, val=1)
    (again / "train2017" / f"{number:04}.png").rename(root / "train2017" / f"{number:04}.png")


@pytest.mark.slow
def test_a_validation_picture_that_disappears_stops_the_run_until_it_is_back(tmp_path, monkeypatch, root, capsys):
    folder = tmp_path / "run"
    file = root / "val2017" / "0007.png"
    content = file.read_bytes()
    vanish_after_start(monkeypatch, root, "val2017", 7)
    command = arguments(
        root, f"hydra.run.dir={folder}", "trainer.checkpoint_every_n_steps=1", "trainer.num_sanity_val_steps=0"
    )
    assert train(monkeypatch, *command) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-2:] == [
        f"val: {file} cannot be opened (No such file or directory), but was readable when the run began",
        "restore the files and continue the run, or start a new run without these files",
    ]
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    monkeypatch.undo()
    file.write_bytes(content)
    assert train(monkeypatch, *command, "ckpt_path=last") == 0
    assert json.loads((folder / "summary.json").read_text())["samples"] == {"train": TRAIN, "val": 20, "test": 20}


def train(monkeypatch, *arguments: str) -> int:
    """`python train.py <arguments>`, in this process."""
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["train.py", *arguments])
        return command_line()


def test_a_run_cannot_be_continued_with_data_of_another_size(small, tmp_path, root):
    config = arguments(root, "data.train_size=null")[len(SMALL) :]
    run(small(*config), tmp_path / "run")
    write_captions(
        root, "train2017", {f"{number:04}.png": [f"caption {k}" for k in range(5)] for number in range(TRAIN - 1)}
    )
    with pytest.raises(ConfigError) as error:
        run(small(*config, "ckpt_path=last", "trainer.max_epochs=3"), tmp_path / "run")
    assert str(error.value) == (
        "the data have 23 train, 20 val, 20 test samples now; allowed: those with which the run began, 24 train, 20 "
        "val, 20 test"
    )


@pytest.mark.parametrize("content", some(["[]", "", '{"left_out": {"train2017": 3}}', "missing", "[" * 100_000], 5))
def test_a_damaged_record_means_that_the_files_are_examined_again(small, tmp_path, root, content):
    config = arguments(root)[len(SMALL) :]
    run(small(*config), tmp_path / "run")
    record = tmp_path / "run" / "data.json"
    before = record.read_text()
    record.unlink() if content == "missing" else record.write_text(content)
    run(small(*config, "ckpt_path=last", "trainer.max_epochs=3"), tmp_path / "run")
    assert record.read_text() == before
    assert json.loads(before) == {"left_out": {"train2017": {}, "val2017": {}}}
    repairs = json.loads((tmp_path / "run" / "summary.json").read_text()).get("repairs", [])
    assert [sentence for sentence in repairs if "data.json" in sentence] == repairs
    assert len(repairs) == (content != "missing")


@pytest.mark.slow
def test_two_processes_replace_the_same_rows(tmp_path, monkeypatch, root):
    """The rows are those that one process with the whole batch replaces."""
    rows = "data.train_size=24"
    vanish_after_start(monkeypatch, root, "train2017", 5, 6)
    two = arguments(
        root,
        rows,
        "trainer.strategy=ddp",
        "trainer.devices=2",
        "data.batch_size=4",
        f"hydra.run.dir={tmp_path / 'two'}",
    )

    together(lambda: sys.exit(train(monkeypatch, *two)), tmp_path)
    found = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert found["replaced_rows"] == 4
