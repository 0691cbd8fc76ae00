"""How often a step reads a number from the device: on a GPU each read waits for all earlier work."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from model.health import Action, GradientHealthMonitor, HealthSettings, HealthStep
from model.health.callback import GradientHealthCallback
from tests.health.gradients import with_gradients
from tests.health.modules import Small, loader, trainer

READS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy")


class ReadCounter(GradientHealthCallback):
    """Counts the reads of every step, by the number of the step."""

    def __init__(self, settings: HealthSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(settings, None)
        self.reads: Counter[int] = Counter()
        self.monkeypatch = monkeypatch

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        step = trainer.global_step + 1
        with self.monkeypatch.context() as patch:
            for name in READS:
                patch.setattr(torch.Tensor, name, self.counting(getattr(torch.Tensor, name), step))
            super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def counting(self, read, step):
        def count_and_read(*arguments, **keywords):
            self.reads[step] += 1
            return read(*arguments, **keywords)

        return count_and_read


class Unread(Small):
    """Keeps its rows without reading their tensors."""

    def record(self, values) -> None:
        self.rows.append(values)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(
    ("settings", "between", "due"),
    [
        (HealthSettings(every_n_steps=4, on_nonfinite="warn"), 0, 1),
        (HealthSettings(every_n_steps=4, on_nonfinite="warn", clip=0.01), 0, 2),
        (HealthSettings(every_n_steps=4, on_nonfinite="warn", clip=0.01, clip_above=0.02, noise_std=0.1), 0, 2),
        (HealthSettings(every_n_steps=4), 1, 1),
        (HealthSettings(every_n_steps=4, clip=0.01), 1, 1),
        (HealthSettings(every_n_steps=4, on_nonfinite="halt", per_layer=True), 1, 1),
    ],
)
def test_transfers_a_step(settings, between, due, monkeypatch):
    callback = ReadCounter(settings, monkeypatch)
    trainer([callback], max_steps=8).fit(Unread(), loader())
    first = 1  # this step gets a row too, but no clipped steps are counted on the device yet
    assert [callback.reads[step] for step in range(1, 9)] == [
        first,
        between,
        between,
        due,
        between,
        between,
        between,
        due,
    ]


def test_a_step_between_rows_runs_where_no_value_can_be_read():
    """The device `meta` has shapes and no values."""
    net = with_gradients(torch.ones(3, 2, device="meta"), torch.ones(5, device="meta", dtype=torch.bfloat16))
    step = HealthStep(net, HealthSettings(on_nonfinite="warn", clip=1.0, clip_above=2.0))
    action = step.act(torch.optim.SGD(net.parameters()), torch.ones((), device="meta"), step=2)
    assert action is Action.STEP
    with pytest.raises(RuntimeError, match="meta"):
        step.act(torch.optim.SGD(net.parameters()), torch.ones((), device="meta"), step=1)


def test_a_check_is_one_transfer(monkeypatch):
    reads: list[str] = []
    monitor = GradientHealthMonitor(model=with_gradients(*[torch.ones(4) for _ in range(20)]))

    def recorded(name, read):
        return lambda *arguments, **keywords: (reads.append(name), read(*arguments, **keywords))[1]

    for name in READS:
        monkeypatch.setattr(torch.Tensor, name, recorded(name, getattr(torch.Tensor, name)))
    monitor.check_gradients()
    assert reads == ["tolist"]
    monitor.apply_gradient_clipping(max_norm=1.0)
    assert reads == ["tolist"]
