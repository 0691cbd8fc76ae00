"""The callback in a Trainer: when it measures, what it records, and that it clips as Lightning does."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy

from model.errors import ConfigError
from model.health import HealthSettings
from model.health.callback import GradientHealthCallback, refuse_sharded_strategy
from model.record.health_jsonl import read_history
from tests.health.modules import Small, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Norms(Callback):
    """Measures the gradient of each step independently of the callback."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        gradients = [p.grad.double().flatten() for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(float(torch.cat(gradients).norm()))


def fit(settings: HealthSettings, module: Small | None = None, run_dir=None, **options):
    """Returns the module, the callback and the norms before the callback, after one epoch of 16 batches."""
    module, norms, callback = module or Small(), Norms(), GradientHealthCallback(settings, run_dir)
    trainer([norms, callback], **options).fit(module, loader())
    return module, callback, norms.norms


@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 4}, {"precision": "bf16-mixed"}], ids=["plain", "accumulated", "bf16"]
)
def test_records_the_norm_of_every_step(options):
    module, callback, norms = fit(HealthSettings(every_n_steps=1), **options)
    assert [row["grad/global_norm"] for row in module.rows] == pytest.approx(norms, rel=1e-6)
    assert (
        len(norms)
        == 16 // options.get("accumulate_grad_batches", 1)
        == callback.counts["attempted"]
        == callback.counts["applied"]
    )


def test_accumulated_norm_is_that_of_the_mean_gradient():
    module, _, _ = fit(HealthSettings(every_n_steps=1), accumulate_grad_batches=16)
    twin = Small()
    (sum(twin.loss(batch) for batch in loader()) / 16).backward()
    expected = torch.cat([p.grad.double().flatten() for p in twin.parameters()]).norm()
    assert module.rows[0]["grad/global_norm"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [1, 5, 10, 15, 16]),
        ({"max_epochs": 2}, [1, 5, 10, 15, 20, 25, 30, 32]),
        ({"max_steps": 7}, [1, 5, 7]),
        ({"max_steps": 3}, [1, 3]),
        ({"max_steps": 1}, [1]),
        ({"accumulate_grad_batches": 3}, [1, 5, 6]),
        ({"limit_train_batches": 0.5}, [1, 5, 8]),
        ({"max_epochs": -1, "max_steps": 6}, [1, 5, 6]),
    ],
)
def test_records_the_first_step_each_interval_and_the_last(options, steps):
    module, _, _ = fit(HealthSettings(every_n_steps=5), **options)
    assert [row["step"] for row in module.rows] == steps


class StopAfter(Callback):
    """Ends a run after a step, as a time limit or early stopping does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *arguments) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def test_a_run_that_ends_early_gets_no_last_row():
    module = Small()
    trainer([StopAfter(7), GradientHealthCallback(HealthSettings(every_n_steps=5), None)]).fit(module, loader())
    assert module.trainer.global_step == 7
    assert [row["step"] for row in module.rows] == [1, 5]


@pytest.mark.parametrize("on_nonfinite", ["warn", "skip"])
@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}], ids=["plain", "accumulated", "bf16"]
)
def test_clips_as_lightning_does_bit_for_bit(options, optimizer, on_nonfinite):
    ours, callback, _ = fit(
        HealthSettings(clip=0.3, on_nonfinite=on_nonfinite), Small(optimizer, factor=5.0), **options
    )
    theirs = Small(optimizer, factor=5.0)
    trainer([], gradient_clip_val=0.3, **options).fit(theirs, loader())
    unclipped, _, _ = fit(HealthSettings(), Small(optimizer, factor=5.0), **options)
    assert callback.counts["clipped"] > 0
    pairs = list(zip(ours.parameters(), theirs.parameters(), unclipped.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


class LinearLoss(Small):
    """Only the weight of the head has a gradient, with the norm `factor`."""

    def loss(self, batch):
        return self.factor * (self.head.weight * torch.tensor([[0.6, 0.8, 0.0]])).sum()


@pytest.mark.parametrize("on_nonfinite", ["warn", "skip"])
@pytest.mark.parametrize("norm", [1 - 2e-6, 1 - 5e-7, 1.0, 1 + 5e-7])
def test_clips_as_lightning_does_at_the_bound(norm, on_nonfinite):
    ours, theirs = LinearLoss("sgd", factor=norm), LinearLoss("sgd", factor=norm)
    trainer([GradientHealthCallback(HealthSettings(clip=1.0, on_nonfinite=on_nonfinite), None)], max_steps=2).fit(
        ours, loader()
    )
    trainer([], gradient_clip_val=1.0, max_steps=2).fit(theirs, loader())
    assert torch.equal(ours.head.weight, theirs.head.weight)


def test_clips_above_a_higher_norm_only():
    module, callback, norms = fit(HealthSettings(clip=0.1, clip_above=1.0, every_n_steps=1))
    assert [row["grad/clipped"] for row in module.rows] == [float(norm > 1.0) for norm in norms]
    expected = [0.1 / (norm + 1e-6) if norm > 1.0 else 1.0 for norm in norms]
    assert [row["grad/clip_coef"] for row in module.rows] == pytest.approx(expected, rel=1e-5)
    assert 0 < callback.counts["clipped"] < 16
    assert module.rows[-1]["grad/clip_share"] == callback.counts["clipped"] / 16


def test_groups_by_tower_and_layer():
    module, _, _ = fit(HealthSettings(every_n_steps=16, per_layer=True))
    row = module.rows[-1]
    tower = [row["grad_layer/tower/0/norm"], row["grad_layer/tower/2/norm"]]
    assert row["grad_tower/tower/norm"] == pytest.approx(sum(norm**2 for norm in tower) ** 0.5, rel=1e-6)
    assert row["grad_tower/head/norm"] == row["grad_layer/head/norm"]
    norms = [row["grad_tower/tower/norm"], row["grad_tower/head/norm"], row["grad/logit_scale"]]
    assert row["grad/global_norm"] == pytest.approx(sum(norm**2 for norm in norms) ** 0.5, rel=1e-6)


def test_the_last_window_may_be_incomplete():
    module, _, norms = fit(HealthSettings(every_n_steps=1), accumulate_grad_batches=5)
    assert [row["grad/global_norm"] for row in module.rows] == pytest.approx(norms, rel=1e-6)
    assert len(norms) == 4, "of 5, 5, 5 and 1 batches"


def test_history_returns_to_the_rows_of_the_checkpoint(tmp_path):
    _, callback, norms = fit(HealthSettings(every_n_steps=4), run_dir=tmp_path)
    rows = read_history(tmp_path / "health.jsonl")
    assert [row["step"] for row in rows] == [1, 4, 8, 12, 16]
    assert rows[2]["norm"] == pytest.approx(norms[7], rel=1e-5)
    state = callback.state_dict() | {"rows": 3}
    resumed = GradientHealthCallback(HealthSettings(every_n_steps=4), tmp_path)
    resumed.load_state_dict(state)
    assert resumed.counts["attempted"] == 16
    trainer([resumed], max_steps=4).fit(Small(), loader())
    assert [row["step"] for row in read_history(tmp_path / "health.jsonl")] == [1, 4, 8, 1, 4]


@pytest.mark.parametrize(("strategy", "name"), [(FSDPStrategy, "fsdp"), (DeepSpeedStrategy, "deepspeed")])
def test_strategies_that_hide_gradients_are_refused(strategy, name):
    with pytest.raises(
        ConfigError, match=f"trainer.strategy={name} hides gradients from the monitor; allowed: auto, ddp,"
    ):
        refuse_sharded_strategy(object.__new__(strategy))
    refuse_sharded_strategy(DDPStrategy())


def test_a_trainer_that_clips_too_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"trainer.gradient_clip_val=0.5 clips what monitor.clip=1.0 clips already; allowed: one of the two",
    ):
        fit(HealthSettings(clip=1.0), gradient_clip_val=0.5)
    fit(HealthSettings(), gradient_clip_val=0.5, max_steps=1)


def test_the_history_may_be_in_a_new_folder(tmp_path):
    fit(HealthSettings(), run_dir=tmp_path / "not" / "there")
    assert [row["step"] for row in read_history(tmp_path / "not" / "there" / "health.jsonl")] == [1, 10, 16]
