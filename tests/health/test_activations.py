"""ActivationMonitor on outputs with known statistics, and in a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.health import ActivationMonitor, HealthSettings
from model.health.callback import GradientHealthCallback
from model.record.health_jsonl import read_history
from tests.health.modules import Small, loader, trainer


def hooks(module: nn.Module) -> int:
    """Returns the number of forward hooks of a module and its children."""
    return sum(len(child._forward_hooks) for child in module.modules())


def test_figures_are_the_definition_over_all_calls():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    inputs = [torch.randn(5, 3), 3 * torch.randn(8, 3)]
    with ActivationMonitor(net) as monitor:
        for batch in inputs:
            net(batch)
    outputs = torch.cat([net(batch) for batch in inputs]).detach().double()
    stats = monitor.get_statistics()["1"]
    assert stats["mean"] == pytest.approx(float(outputs.mean()), rel=1e-5)
    assert stats["std"] == pytest.approx(float(outputs.std(correction=0)), rel=1e-5)
    assert (stats["min"], stats["max"]) == pytest.approx((0.0, float(outputs.max())))
    assert stats["sparsity"] == pytest.approx(float((outputs == 0).double().mean()))
    assert stats["shape"] == [8, 4]
    assert set(monitor.get_statistics()) == {"0", "1"}


def test_a_unit_is_dead_only_while_all_its_outputs_are_near_zero():
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU())
    net[0].weight.data = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 1]])
    monitor = ActivationMonitor(net)
    monitor.register_hooks()
    net(torch.tensor([[1.0, 1.0], [2.0, -1.0]]))
    assert monitor.get_statistics()["1"]["dead"] == 0.5
    assert monitor.detect_dead_neurons(threshold=1e-6) == {"0": 0.25, "1": 0.5}
    net(torch.tensor([[-1.0, 0.0]]))
    assert monitor.detect_dead_neurons() == {"0": 0.25, "1": 0.25}
    monitor.remove_hooks()
    assert hooks(net) == 0


@pytest.mark.parametrize(
    ("function", "expected"), [(nn.Tanh(), 0.5), (nn.Sigmoid(), 0.5), (nn.Hardtanh(), 0.75), (nn.GELU(), 0.0)]
)
def test_only_bounded_functions_saturate(function, expected):
    with ActivationMonitor(nn.Sequential(function)) as monitor:
        monitor.model(torch.tensor([[-50.0, 0.0, 1.0, 50.0]]))
    assert monitor.get_statistics()["0"]["saturated"] == expected


def test_hooks_are_registered_once_and_do_not_change_outputs():
    net = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 2), nn.Identity())
    inputs = torch.randn(4, 3)
    before, _ = net[1](net[0](inputs))
    monitor = ActivationMonitor(net)
    monitor.register_hooks()
    monitor.register_hooks()
    assert hooks(net) == 3
    assert torch.equal(net[1](net[0](inputs))[0], before)
    assert list(monitor.get_statistics()) == ["0"], "only tensors are measured"


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_measures_when_a_row_is_due_and_removes_its_hooks(tmp_path, caplog):
    module = Small()
    module.tower[0].weight.data.zero_()
    module.tower[0].bias.data.zero_()
    callback = GradientHealthCallback(HealthSettings(every_n_steps=4, activations=True, per_layer=True), tmp_path)
    trainer([callback], max_steps=4, accumulate_grad_batches=2).fit(module, loader())
    first, row = module.rows
    assert first["activation_layer/tower/1/near_zero"] == 1
    assert row["activation_layer/tower/1/near_zero"] < 1, "three steps have moved the weights"
    _, line = read_history(tmp_path / "health.jsonl")
    assert set(line["near_zero"]) == {"tower/0", "tower/1", "tower/2", "head"}
    assert hooks(module) == 0


class FailsOnSecondBatch(Small):
    """Raises an error in its second batch, after the forward pass."""

    def training_step(self, batch, batch_index):
        loss = super().training_step(batch, batch_index)
        if batch_index == 1:
            raise ArithmeticError("after the forward pass")
        return loss


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_that_fails_within_a_step_leaves_no_hooks():
    module = FailsOnSecondBatch()
    with pytest.raises(ArithmeticError):
        trainer([GradientHealthCallback(HealthSettings(every_n_steps=1, activations=True), None)]).fit(module, loader())
    assert hooks(module) == 0


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_dead_units_give_advice(caplog):
    module = Small()
    module.tower[0].weight.data.zero_()
    module.tower[0].bias.data.fill_(0.0)
    trainer([GradientHealthCallback(HealthSettings(every_n_steps=1, activations=True), None)], max_steps=1).fit(
        module, loader()
    )
    assert "Dead units: 100% of the units of tower.0" in caplog.text
    assert module.rows[0]["activation/dead_units"] == pytest.approx(2 / 4)
