"""Small runs from beginning to end: their files, repeated runs, runs that continue after a kill."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError
from model.losses.formulas.gram_pairs import AllPairsGramScore
from model.losses.objective import island
from model.module import NWayClip
from model.run import run
from tests.conftest import SMALL
from tests.forked import train_until

NOISY = (
    "model.eot_select=gumbel",
    "backbone.translator_dropout=0.1",
    "trainer.checkpoint_every_n_steps=2",
    "trainer.max_epochs=3",
)


def read_csv(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Returns the weights in last.ckpt."""
    return torch.load(checkpoint_path(folder, "last"), weights_only=True)["state_dict"]


def assert_same_run(one: Path, other: Path) -> None:
    """Asserts that metrics.csv and the weights of two runs are bit-identical."""
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("model", "loss"),
    [("v534dim", "normsv5"), pytest.param("v5335dim", "normsv5", marks=pytest.mark.slow), ("v534dim", "stock")],
)
def test_a_run_leaves_what_the_documentation_says(small, tmp_path, model, loss):
    summary = run(small(f"model={model}", f"loss={loss}", "evaluate=[val,test]"), tmp_path)
    rows = read_csv(tmp_path)
    body = json.loads((tmp_path / "summary.json").read_text())
    assert body["status"] == "complete"
    assert body["steps"] == {"attempted": 6, "applied": 6, "skipped": 0, "clipped": 0}
    assert {
        "train/loss",
        "train/logit_scale",
        "val/loss",
        "val/recall@1",
        "val/recall@5",
        "val/recall@10",
        "val/swap_acc",
    } <= rows[0].keys()
    assert [row["step"] for row in rows if row["val/loss"]] == ["3", "6"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
    assert {"test/recall@1", "val/recall@10"} <= summary.metrics.keys()
    assert summary.objective == body["metrics"]["val/recall@1"]
    assert len(body["views"]) == (2 if loss == "stock" else {"v534dim": 6, "v5335dim": 4, "clip": 2}[model])


@pytest.mark.parametrize(
    "schedule",
    [pytest.param("cosine", marks=pytest.mark.slow), "plateau", pytest.param("constant", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("lion", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(small, tmp_path, schedule, optimizer):
    chosen = (f"schedule={schedule}", f"optimizer={optimizer}")
    for name in ("one", "two"):
        run(small(*NOISY, *chosen), tmp_path / name)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    run(small(*NOISY, *chosen, "seed=1"), tmp_path / "three")
    assert (tmp_path / "one" / "metrics.csv").read_bytes() != (tmp_path / "three" / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("kill_at", "extra"),
    [
        pytest.param(5, (), marks=pytest.mark.slow),  # in the middle of an epoch
        (4, ("schedule=plateau", "schedule.patience=0")),
        pytest.param(3, ("trainer.accumulate_grad_batches=2", "data.train_size=48"), marks=pytest.mark.slow),
        pytest.param(3, (), marks=pytest.mark.slow),  # right after an epoch's end
        pytest.param(5, ("data.num_workers=1",), marks=pytest.mark.slow),
        pytest.param(4, ("loss.mask=learned",), marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_continues_with_the_result_of_an_uninterrupted_run(small, tmp_path, kill_at, extra):
    overrides = [*SMALL, *NOISY, *extra]
    run(small(*NOISY, *extra), tmp_path / "reference")
    killed = tmp_path / "killed"
    assert (
        train_until(
            lambda module: module.global_step == kill_at, tmp_path / "output", *overrides, f"hydra.run.dir={killed}"
        )
        == -signal.SIGKILL
    )
    summary = run(small(*NOISY, *extra, "ckpt_path=last"), killed)
    assert summary.status == "complete"
    assert_same_run(tmp_path / "reference", killed)


@pytest.mark.parametrize(("chosen", "name"), [("loss.mask=learned", "loss.mask.alpha"), ("loss=siglip", "loss.bias")])
def test_a_loss_own_parameters_are_trained_and_in_the_checkpoint(small, tmp_path, chosen, name):
    config = small(chosen)
    run(config, tmp_path)
    start = 1.0 if chosen == "loss.mask=learned" else -10.0
    assert (weights(tmp_path)[name] != start).all()
    shown = run(small(chosen, "train=false", "ckpt_path=last", "evaluate=[val]"), tmp_path).metrics["val/loss"]
    assert shown == pytest.approx(float(read_csv(tmp_path)[-1]["val/loss"]), rel=1e-6)


def test_an_epoch_of_skipped_steps_does_not_end_the_run(small, tmp_path, monkeypatch):
    step = NWayClip.training_step
    monkeypatch.setattr(
        NWayClip, "training_step", lambda self, *batch: step(self, *batch) * (torch.nan if self.global_step < 3 else 1)
    )
    summary = run(small("trainer.early_stopping_patience=2"), tmp_path)
    assert summary.status == "complete"
    assert summary.steps == {"attempted": 6, "applied": 3, "skipped": 3, "clipped": 0}


def test_a_folder_is_not_trained_into_twice(small, tmp_path):
    run(small(), tmp_path)
    with pytest.raises(ConfigError, match="holds a run already"):
        run(small(), tmp_path)


def test_checkpoints_hold_plain_data_only(small, tmp_path):
    """Every key, with weights_only=True: nothing in the file is code."""
    run(small(), tmp_path)
    for name in ("last", "best"):
        loaded = torch.load(checkpoint_path(tmp_path, name), weights_only=True)
        assert loaded["random_states"]


def test_a_fast_run_writes_no_metrics_and_no_checkpoints(small, tmp_path):
    run(small("trainer.fast_dev_run=true"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.json"]


def test_a_failure_is_recorded_and_raised(small, tmp_path, monkeypatch):
    from model.module import NWayClip

    def fails(self, batch, index):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(NWayClip, "training_step", fails)
    with pytest.raises(RuntimeError, match="the disk is full"):
        run(small(), tmp_path)
    body = json.loads((tmp_path / "summary.json").read_text())
    assert (body["status"], body["reason"]) == ("failed", "RuntimeError: the disk is full")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", pytest.param("64-true", marks=pytest.mark.slow)])
def test_other_precisions_train(small, tmp_path, precision):
    run(small(f"trainer.precision={precision}", "model.projection=iinv"), tmp_path)
    assert all(torch.isfinite(tensor.double()).all() for tensor in weights(tmp_path).values())


def test_the_precision_of_products_applies_to_the_towers_only(small, tmp_path, monkeypatch):
    settings = {"towers": set(), "loss": set()}
    encode, contrast = NWayClip.forward, AllPairsGramScore.from_parts

    def encoded(self, *arguments):
        settings["towers"].add(tuple(switch.read() for switch in island.switches()))
        return encode(self, *arguments)

    def contrasted(self, *arguments):
        settings["loss"].add(tuple(switch.read() for switch in island.switches()))
        return contrast(self, *arguments)

    monkeypatch.setattr(NWayClip, "forward", encoded)
    monkeypatch.setattr(AllPairsGramScore, "from_parts", contrasted)
    before = torch.get_float32_matmul_precision()
    run(small("trainer.matmul_precision=medium", "loss=normsv5"), tmp_path)
    (towers,), (loss,) = settings["towers"], settings["loss"]
    assert loss == tuple(switch.full for switch in island.switches()) != towers
    assert torch.get_float32_matmul_precision() == before == "highest"


def test_early_stopping_ends_a_run_that_no_longer_falls(small, tmp_path):
    summary = run(small("optimizer.lr=1e-12", "trainer.early_stopping_patience=1", "trainer.max_epochs=20"), tmp_path)
    assert summary.status == "stopped"
    assert summary.steps["attempted"] < 60
