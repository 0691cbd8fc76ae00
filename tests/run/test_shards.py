"""Runs on shards: equal to runs on the same pictures in a COCO folder, also after a kill. Two processes see each sample
once.
"""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from model.command import command_line
from model.data.pack import main
from model.module import NWayClip
from model.run import run
from tests.conftest import SMALL
from tests.data.coco_folder import write_folder
from tests.forked import together, train_until
from tests.run.test_run import assert_same_run

CLIP = ("model=clip", "model.captions=1", "loss=stock", "data.vocab_size=300", "data.train_size=24")
SHARDS = ("data=shards", "data.captions=5")


@pytest.fixture
def folders(tmp_path) -> dict[str, tuple[str, ...]]:
    """The settings of a COCO folder and of shards that were packed from it."""
    root = write_folder(tmp_path / "coco", train=24, val=40)
    sizes = ("data.val_size=20", "data.test_size=20")
    coco = ("data=coco", f"data.root={root}", *sizes)
    assert main([*coco, str(tmp_path / "packed"), "--samples", "7"]) == 0
    return {"coco": coco, "shards": (*SHARDS, f"data.root={tmp_path / 'packed'}", *sizes)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_metrics_and_weights_equal_those_of_a_coco_folder(folders, workers, small, tmp_path):
    for name, settings in folders.items():
        run(small(*CLIP, *settings, f"data.num_workers={workers}"), tmp_path / name)
    assert_same_run(tmp_path / "shards", tmp_path / "coco")


@pytest.mark.slow
def test_a_run_that_was_killed_within_an_epoch_continues_as_the_whole_run(folders, small, tmp_path):
    run(small(*CLIP, *folders["coco"]), tmp_path / "whole")
    here = [
        *SMALL,
        *CLIP,
        *folders["shards"],
        f"hydra.run.dir={tmp_path / 'killed'}",
        "trainer.checkpoint_every_n_steps=1",
    ]
    assert train_until(lambda module: module.global_step == 4, tmp_path / "said", *here) < 0
    assert train_until(lambda module: False, tmp_path / "said_again", *here, "ckpt_path=last") == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_with_two_workers_each_see_each_sample_once(tmp_path):
    """40 samples in batches of 8 on each of two processes: an epoch has 32 different samples. All 40 would be 2.5
    batches.
    """
    scenes = ("data=scenes", "data.train_size=40", "data.val_size=20", "data.test_size=20")
    assert main([*scenes, str(tmp_path / "packed"), "--samples", "7"]) == 0
    step = NWayClip.training_step

    def recorded(module, batch, index):
        with open(tmp_path / f"seen_{module.global_rank}", "a") as file:
            file.writelines(f"{module.current_epoch} {row}\n" for row in batch.indices.tolist())
        return step(module, batch, index)

    arguments = [*SMALL, *SHARDS, f"data.root={tmp_path / 'packed'}", "data.train_size=null", "data.num_workers=2"]
    two = ["trainer.strategy=ddp", "trainer.devices=2", "data.batch_size=8", f"hydra.run.dir={tmp_path / 'two'}"]

    def train() -> None:
        NWayClip.training_step = recorded
        sys.argv = ["train.py", *arguments, *two]
        sys.exit(command_line())

    together(train, tmp_path)
    seen = [line.split() for number in range(2) for line in (tmp_path / f"seen_{number}").read_text().splitlines()]
    for epoch in range(2):
        counts = Counter(row for of_epoch, row in seen if int(of_epoch) == epoch)
        assert len(counts) == 32
        assert set(counts.values()) == {1}
