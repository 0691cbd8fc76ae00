"""A run that continues with another number of epochs: no jump of its learning rate, and bit-identical after a kill."""

from __future__ import annotations

import csv
import math
import shutil
import signal
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.config.schema import CosineConfig, PlateauConfig, ScheduleConfig
from model.errors import ConfigError
from model.optim import LEAST_APPROACH, Plateau, Rate
from model.run import run
from tests.conftest import SMALL, compose_run
from tests.forked import train_until

PEAK = 2e-3
SHARED = (f"optimizer.lr={PEAK}", "trainer.checkpoint_every_n_steps=2", "model.eot_select=gumbel", "analysis=off")
COSINE = CosineConfig("cosine", 0.1, 0.0)


def rates(folder: Path) -> dict[int, float]:
    """Returns the learning rate of each step."""
    with open(folder / "metrics.csv", newline="") as file:
        return {int(row["step"]): float(row["train/lr"]) for row in csv.DictReader(file) if row["train/lr"]}


def last_checkpoint(folder: Path) -> dict:
    """Returns the last checkpoint."""
    return torch.load(checkpoint_path(folder, "last"), weights_only=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder of a finished run of two epochs, six steps. Tests work on copies."""
    folder = tmp_path_factory.mktemp("done") / "run"
    run(compose_run(*SMALL, *SHARED), folder)
    return folder


@pytest.fixture
def copy(done, tmp_path):
    """`copy(name)`: a copy of that folder."""
    return lambda name: Path(shutil.copytree(done, tmp_path / name))


@pytest.mark.slow
def test_the_rate_of_an_extended_run_has_no_jump(small, copy):
    """It rises by a tenth of the difference at each step, because more than ten steps remain."""
    folder = copy("run")
    summary = run(small(*SHARED, "trainer.max_epochs=8", "ckpt_path=last"), folder)
    made = rates(folder)
    assert sorted(made) == list(range(1, 25))
    assert summary.status == "complete"
    assert summary.steps["attempted"] == 24
    assert {"train/loss", "train/epoch_loss"} <= summary.metrics.keys()
    before, first = made[6], made[7]
    assert 0 < first < 0.1 * PEAK
    assert abs(first - before) < 0.1 * PEAK
    assert all(abs(made[step + 1] - made[step]) < 0.13 * PEAK for step in range(6, 24))
    # From the tenth step on, the cosine of the new schedule, with the warm-up of the first one, which takes one step.
    curve = {step: PEAK * (1 + math.cos(math.pi * (step - 2) / 23)) / 2 for step in range(16, 25)}
    assert [made[step] for step in curve] == pytest.approx(list(curve.values()), rel=1e-9)


def test_an_extended_run_continues_bit_identically_after_a_kill(small, copy, tmp_path):
    longer = (*SHARED, "trainer.max_epochs=5")
    run(small(*longer, "ckpt_path=last"), copy("reference"))
    killed = copy("killed")
    arguments = (*SMALL, *longer, "ckpt_path=last", f"hydra.run.dir={killed}")
    assert train_until(lambda module: module.global_step == 9, tmp_path / "output", *arguments) == -signal.SIGKILL
    run(small(*longer, "ckpt_path=last"), killed)
    assert (killed / "metrics.csv").read_bytes() == (tmp_path / "reference" / "metrics.csv").read_bytes()
    one, other = last_checkpoint(tmp_path / "reference"), last_checkpoint(killed)
    assert [
        name for name, tensor in one["state_dict"].items() if not torch.equal(tensor, other["state_dict"][name])
    ] == []
    assert one["rate"] == other["rate"]
    assert one["rate"]["approach"] == {"start": 6, "factor": 0.0, "length": 9}, "the approach takes the remaining steps"


@pytest.mark.slow
def test_a_run_that_is_extended_or_shortened_halfway_has_no_jump(small, tmp_path):
    shared = (*SHARED, "trainer.max_epochs=8")
    assert (
        train_until(
            lambda module: module.global_step == 12,
            tmp_path / "output",
            *SMALL,
            *shared,
            f"hydra.run.dir={tmp_path / 'killed'}",
        )
        < 0
    )
    for epochs in (5, 16):
        folder = Path(shutil.copytree(tmp_path / "killed", tmp_path / str(epochs)))
        run(small(*shared, f"trainer.max_epochs={epochs}", "ckpt_path=last"), folder)
        made = rates(folder)
        assert max(made) == 3 * epochs
        steepest = max(abs(made[step + 1] - made[step]) for step in range(10, 3 * epochs))
        assert steepest < 0.25 * PEAK
        assert made[3 * epochs] < 0.35 * PEAK, "it ends like the schedule"


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_warm_up_is_not_repeated(small, tmp_path, schedule):
    shared = (*SHARED, f"schedule={schedule}", "schedule.warmup=0.5")
    run(small(*shared), tmp_path)
    run(small(*shared, "trainer.max_epochs=4", "ckpt_path=last"), tmp_path)
    made = rates(tmp_path)
    assert [made[step] for step in range(1, 4)] == pytest.approx([PEAK / 3, 2 * PEAK / 3, PEAK])
    assert [made[step] for step in range(4, 13)] == [PEAK] * 9


@pytest.mark.slow
def test_a_run_that_stopped_early_trains_further_epochs_only_with_more_patience(small, tmp_path):
    slow = (*SHARED, "optimizer.lr=1e-12", "trainer.max_epochs=20")
    ended = run(small(*slow, "trainer.early_stopping_patience=1"), tmp_path).steps["attempted"]
    before = (tmp_path / "metrics.csv").read_bytes()
    same = run(small(*slow, "trainer.early_stopping_patience=1", "ckpt_path=last"), tmp_path)
    assert (same.status, same.steps["attempted"]) == ("stopped", ended)
    assert (tmp_path / "metrics.csv").read_bytes() == before
    longer = run(small(*slow, "trainer.early_stopping_patience=3", "ckpt_path=last"), tmp_path)
    assert longer.steps["attempted"] > ended


def test_the_approach_to_the_new_curve():
    """It is linear, starts at the old rate, takes the warm-up's share of the remaining steps, and ends on a curve that
    keeps the old warm-up.
    """
    old, new = Rate(COSINE, 100, None), Rate(COSINE, 400, None)
    assert new.resume(old.state_dict(), 100, 0.0)
    reached = Rate(CosineConfig("cosine", 0.0, 0.0), 390, None)
    assert new.approach.length == 30
    assert [new.factor(step) for step in (100, 114, 129, 200, 399)] == pytest.approx(
        [
            reached.factor(90) / 30,
            reached.factor(104) / 2,
            reached.factor(119),
            reached.factor(190),
            reached.factor(389),
        ]
    )
    short = Rate(COSINE, 150, None)
    short.resume(old.state_dict(), 100, 0.0)
    assert short.approach.length == LEAST_APPROACH


def test_an_extension_of_an_extension_starts_from_the_rate_that_was_reached():
    first, second = Rate(COSINE, 200, None), Rate(COSINE, 300, None)
    first.resume(Rate(COSINE, 100, None).state_dict(), 100, 0.0)
    reached = first.factor(104)
    assert second.resume(first.state_dict(), 104, reached)
    assert second.factor(104) == pytest.approx(reached + (second.curve(104) - reached) / second.approach.length)
    assert second.warmup == 10


def test_the_same_number_of_steps_changes_nothing():
    first, again = Rate(COSINE, 200, None), Rate(COSINE, 200, None)
    first.resume(Rate(COSINE, 100, None).state_dict(), 100, 0.0)
    assert not again.resume(first.state_dict(), 104, first.factor(104))
    assert [again.factor(step) for step in range(104, 200)] == [first.factor(step) for step in range(104, 200)]


def test_a_schedule_that_has_the_old_rate_already_has_no_approach():
    plateau = Plateau(0.5, 1)
    plateau.scale = 0.25
    for config, held in ((ScheduleConfig("constant", 0.0), None), (PlateauConfig("plateau", 0.0, 0.5, 1), plateau)):
        rate = Rate(config, 200, held)
        assert not rate.resume(Rate(config, 100, held).state_dict(), 50, held.scale if held else 1.0)
        assert rate.approach is None


def test_a_schedule_that_needs_the_number_of_steps_says_so():
    with pytest.raises(ConfigError, match=r"schedule=cosine needs the number of steps; allowed: trainer\.max_steps"):
        Rate(COSINE, math.inf, None)
    unbounded = Rate(ScheduleConfig("constant", 0.0), math.inf, None)
    assert unbounded.resume(Rate(ScheduleConfig("constant", 0.0), 10, None).state_dict(), 5, 0.5)
    assert unbounded.approach.length == LEAST_APPROACH
