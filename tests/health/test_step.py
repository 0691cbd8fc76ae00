"""`HealthStep` in a plain PyTorch loop: clips as torch does, skips without a trace, halts, and resumes."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from model.health import Action, HealthSettings, HealthStep, TrainingHalted
from model.health.callback import GradientHealthCallback
from model.record.health_jsonl import read_history
from tests.health.modules import Small, loader, trainer
from tests.health.snapshots import same

NAN, GOOD = math.nan, 1.0


def network() -> nn.Sequential:
    """A network with the same weights every time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def inputs(count: int) -> list[Tensor]:
    """`count` batches of five rows."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(5, 3, generator=generator) for _ in range(count)]


class Loop:
    """A plain training loop; the loss of each batch is multiplied by a factor."""

    def __init__(self, settings: HealthSettings, **options: object) -> None:
        self.net = network()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.05, weight_decay=0.1)
        self.health = HealthStep(self.net, settings, **options)
        self.actions: list[Action] = []

    def train(self, factors: Iterable[float], batches: list[Tensor] | None = None) -> Loop:
        """One step for each factor."""
        factors = list(factors)
        for factor, batch in zip(factors, batches or inputs(len(factors)), strict=True):
            self.optimizer.zero_grad()
            loss = factor * self.net(batch).square().mean()
            loss.backward()
            self.actions.append(self.health.act(self.optimizer, loss))
            self.optimizer.step()
        return self

    def state(self) -> dict:
        """A copy of everything that a step may change."""
        return copy.deepcopy({"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()})


def test_a_skipped_step_changes_nothing_and_training_continues_as_if_it_had_not_been():
    batches = inputs(4)
    loop = Loop(HealthSettings()).train([GOOD, GOOD], batches[:2])
    before = loop.state()
    loop.train([NAN], batches[2:3])
    assert same(loop.state(), before)
    loop.train([GOOD], batches[3:])
    assert loop.actions == [Action.STEP, Action.STEP, Action.SKIP, Action.STEP]
    assert [action.applied for action in loop.actions] == [True, True, False, True]
    assert same(loop.state(), Loop(HealthSettings()).train([GOOD] * 3, [*batches[:2], batches[3]]).state())
    assert (loop.health.counts.attempted, loop.health.counts.applied, loop.health.counts.skipped) == (4, 3, 1)


@pytest.mark.parametrize("policy", ["skip", "warn"])
def test_clips_as_torch_does_bit_for_bit(policy):
    loop = Loop(HealthSettings(clip=0.5, on_nonfinite=policy)).train([100.0] * 4)
    twin = Loop(HealthSettings())
    for batch in inputs(4):
        twin.optimizer.zero_grad()
        (100.0 * twin.net(batch).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(twin.net.parameters(), 0.5)
        twin.optimizer.step()
    assert same(loop.state(), twin.state())
    assert loop.health.counts.clipped == 4


@pytest.mark.parametrize("save", [True, False])
def test_too_many_skips_in_a_row_halt_and_write_the_files(tmp_path, save, caplog):
    saved = []
    options = {"save": lambda path: saved.append((path, path.parent.is_dir()))} if save else {}
    loop = Loop(HealthSettings(max_skips=2), run_dir=tmp_path, **options).train([NAN, GOOD, NAN, NAN])
    with pytest.raises(TrainingHalted, match=r"training halted at step 5: .*, 2 steps were skipped before it") as halt:
        loop.train([NAN])
    record = json.loads((tmp_path / "halt.json").read_text())
    assert (record["step"], record["reason"]) == (5, "the loss and the gradient are not finite")
    assert record["layers"] == [name for name, _ in loop.net.named_parameters()]
    assert record["checkpoint"] == ("checkpoints/last_good.ckpt" if save else None)
    assert saved == ([(tmp_path / "checkpoints" / "last_good.ckpt", True)] if save else [])
    assert ("last_good.ckpt" in str(halt.value)) == save
    assert caplog.text.count("skipped: the loss and the gradient are not finite") == 4


def test_the_log_names_the_samples_of_the_bad_batch_among_accumulated_ones(caplog):
    loop = Loop(HealthSettings())
    losses = torch.stack([loop.net(batch).mean() for batch in inputs(3)]) * torch.tensor([1.0, NAN, 1.0])
    losses.sum().backward()
    indices = [torch.tensor([1, 2]), torch.tensor([5, 9]), torch.tensor([11])]
    assert loop.health.act(loop.optimizer, losses, indices=indices) is Action.SKIP
    assert "step 1 skipped: the loss and the gradient are not finite; samples [5, 9]" in caplog.text


def test_rows_are_written_at_the_first_step_at_intervals_and_at_the_last(tmp_path):
    loop = Loop(HealthSettings(every_n_steps=3), run_dir=tmp_path / "new" / "folder", last_step=7).train([GOOD] * 7)
    rows = read_history(tmp_path / "new" / "folder" / "health.jsonl")
    assert [row["step"] for row in rows] == [1, 3, 6, 7]
    assert set(rows[0]["layers"]) == {"0", "2"}
    assert loop.health.state_dict()["rows"] == 4


def test_a_resumed_loop_has_the_noise_counts_and_rows_of_an_uninterrupted_one(tmp_path):
    settings, batches = HealthSettings(noise_std=0.1, clip=0.5, every_n_steps=2), inputs(6)
    uninterrupted = Loop(settings, run_dir=tmp_path / "uninterrupted", seed=3).train([GOOD] * 6, batches)
    first = Loop(settings, run_dir=tmp_path / "resumed", seed=3).train([GOOD] * 3, batches[:3])
    state, health = first.state(), first.health.state_dict()
    first.train([GOOD], batches[3:4])  # lost, as no checkpoint was written after it
    second = Loop(settings, run_dir=tmp_path / "resumed", seed=3)
    second.net.load_state_dict(state["net"])
    second.optimizer.load_state_dict(state["optimizer"])
    second.health.load_state_dict(health)
    second.train([GOOD] * 3, batches[3:])
    assert same(second.state(), uninterrupted.state())
    assert second.health.state_dict() == uninterrupted.health.state_dict()
    files = [tmp_path / name / "health.jsonl" for name in ("uninterrupted", "resumed")]
    assert files[0].read_text() == files[1].read_text()
    assert not same(uninterrupted.state(), Loop(settings, seed=4).train([GOOD] * 6, batches).state())


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_plain_loop_gives_the_weights_of_a_lightning_run():
    def fault(index: int, loss: Tensor) -> Tensor:
        return loss * NAN if index in (2, 3) else loss

    class Plain(Small):
        """Works without a Trainer."""

        def record(self, values: dict[str, Tensor | float]) -> None:
            pass

    settings = HealthSettings(clip=0.3, noise_std=0.05)
    lightning, callback = Small(fault=fault), GradientHealthCallback(settings, None, seed=5)
    trainer([callback]).fit(lightning, loader())
    plain = Plain(fault=fault)
    configured = plain.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    health = HealthStep(plain, settings, seed=5)
    for index, batch in enumerate(loader()):
        optimizer.zero_grad()
        loss = plain.training_step(batch, index)
        loss.backward()
        if health.act(optimizer, loss).applied:
            optimizer.step()
            schedule.step()
    assert same(dict(plain.named_parameters()), dict(lightning.named_parameters()))
    assert health.counts.skipped == callback.counts["skipped"] == 2
    assert health.counts.clipped == callback.counts["clipped"] > 0


def half_precision_step(loop: Loop, scaler: torch.amp.GradScaler, factor: float) -> Action:
    """One step of a loop in half precision, in the documented order."""
    loop.optimizer.zero_grad()
    loss = factor * loop.net(inputs(1)[0]).square().mean()
    scaler.scale(loss).backward()
    scaler.unscale_(loop.optimizer)
    action = loop.health.act(loop.optimizer, loss, loss_scale=scaler.get_scale())
    scaler.step(loop.optimizer)
    scaler.update()
    return action


def test_half_precision_backs_off_from_an_overflow_and_skips_a_bad_loss():
    loop, scaler = Loop(HealthSettings(max_skips=0)), torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = loop.state()
    assert half_precision_step(loop, scaler, 100.0) is Action.BACK_OFF
    assert scaler.get_scale() == 2.0**126
    assert same(loop.state(), before)
    loop, scaler = Loop(HealthSettings()), torch.amp.GradScaler("cpu", init_scale=64.0)
    assert half_precision_step(loop, scaler, GOOD) is Action.STEP
    before = loop.state()
    assert half_precision_step(loop, scaler, NAN) is Action.SKIP
    assert same(loop.state(), before)


def test_activations_are_measured_for_the_steps_with_a_row_only(tmp_path):
    class Recording(nn.Sequential):
        """Keeps its rows of metrics."""

        def record(self, values: dict[str, Tensor | float]) -> None:
            rows.append(values)

    rows: list[dict[str, Tensor | float]] = []
    net = Recording(nn.Linear(3, 2), nn.Tanh())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    health, hooks = HealthStep(net, HealthSettings(activations=True, every_n_steps=3)), []
    for batch in inputs(3):
        health.begin_batch()
        hooks.append(len(net[1]._forward_hooks))
        loss = net(batch).square().mean()
        loss.backward()
        health.act(optimizer, loss)
    assert hooks == [1, 0, 1]
    assert ["activation/saturated" in row for row in rows] == [True, True]
    assert len(net[1]._forward_hooks) == 0
    health.begin_batch(step=6)
    health.close()
    assert len(net[1]._forward_hooks) == 0


def test_a_parameter_that_the_model_does_not_have_is_refused():
    loop = Loop(HealthSettings())
    loop.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match=r"optimizer: it has a parameter that `model` does not have; accepted: .*"):
        loop.train([GOOD])


def test_model_health_needs_no_lightning():
    code = "import sys, model.health; sys.exit(any('lightning' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
