"""The monitor of the old gradient module: code that was written for it runs and gets the same figures."""

from __future__ import annotations

import logging
import math
import pickle
import re

import pytest
import torch
from torch import nn

from model.GradientHealthCheck import GradientHealthMonitor
from tests.legacy.two_towers import TwoTowers

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


def test_the_quick_start_as_written(caplog):
    class Trained(nn.Module):
        """A module that monitors itself."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(5)])
            self.global_step = 100
            self.grad_monitor = GradientHealthMonitor(
                model=self, grad_clip_threshold=1.0, exploding_threshold=10.0, log_frequency=100
            )

        def after_backward(self) -> dict:
            stats = self.grad_monitor.check_gradients()
            self.grad_monitor.log_statistics(stats, step=self.global_step)

            if stats["global_grad_norm"] > 10.0:
                self.grad_monitor.apply_gradient_clipping(max_norm=1.0)
            return stats

    module = Trained()
    last = (11.14**2 - 3 * 5.84**2 - 0.0624**2) ** 0.5
    for weight, gradient in zip(module.weights, (5.84, 5.84, 5.84, 0.0624, last), strict=True):
        weight.grad = torch.tensor([gradient])
    with caplog.at_level(logging.INFO):
        module.after_backward()
    summary, advice = (record.message for record in caplog.records)
    assert summary == "Step 100 - Gradient Health: Global Norm=11.14, Max=5.84, Min=6.24e-02"
    assert advice.startswith("⚠️ Exploding gradients detected (norm=11.14)!\n   Consider: (1) ")
    assert re.findall(r"\((\d)\)", advice) == ["1", "2", "3"]
    assert "torch.nn.utils.clip_grad_norm_" in advice
    assert torch.stack([weight.grad for weight in module.weights]).norm() == pytest.approx(1.0, rel=1e-5)


def test_five_steps_and_nine_healthy_layers(caplog):
    model = TwoTowers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    monitor = GradientHealthMonitor(
        model=model, grad_clip_threshold=1.0, vanishing_threshold=1e-7, exploding_threshold=10.0, log_frequency=1
    )
    with caplog.at_level(logging.INFO):
        for step in range(5):
            loss = nn.functional.cross_entropy(model(torch.randn(16, 32), torch.randn(16, 32)), torch.arange(16))
            optimizer.zero_grad()
            loss.backward()
            stats = monitor.check_gradients()
            assert not stats["has_nan"]
            assert not stats["has_inf"]
            monitor.log_statistics(stats, step=step)
            if stats["global_grad_norm"] > 1.0:
                monitor.apply_gradient_clipping(max_norm=1.0)
            optimizer.step()
    starts = [record.message.split(":")[0] for record in caplog.records]
    assert [start for start in starts if start.endswith("Gradient Health")] == [
        f"Step {step} - Gradient Health" for step in range(5)
    ]
    summary = monitor.get_gradient_flow_summary()
    assert [len(summary[f"layers_with_{kind}_grads"]) for kind in ("healthy", "vanishing", "exploding")] == [9, 0, 0]


class Logger:
    """A logger that stores the figures of the last call."""

    def log(self, values: dict, step: int) -> None:
        self.values, self.step = values, step


def test_a_logger_gets_the_figures():
    model, logger = nn.Linear(2, 1, bias=False), Logger()
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    norms = {f"grad/{kind}_norm": 5.0 for kind in ("global", "max", "min", "mean")}
    figures = norms | {"grad/has_nan": 0.0, "grad/has_inf": 0.0}
    plain = GradientHealthMonitor(model, enable_detailed_logging=False)
    plain.log_statistics(plain.check_gradients(), step=7, logger=logger)
    assert (logger.step, logger.values) == (7, figures)
    detailed = GradientHealthMonitor(model)
    detailed.log_statistics(detailed.check_gradients(), logger=logger)
    layers = {"norm": 5.0, "mean": 3.5, "std": 0.5**0.5, "max": 4.0, "min": 3.0}
    assert (logger.step, logger.values) == (
        1,
        figures | {f"grad/weight/{key}": pytest.approx(value) for key, value in layers.items()},
    )


def test_figures_of_every_parameter():
    model = nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, -4.0]]), torch.tensor([2.0])
    for detailed in (True, False):
        layers = GradientHealthMonitor(model, 1.0, 1e-7, 100.0, 100, detailed).check_gradients()["layer_stats"]
        assert layers["weight"] == {
            "norm": 5.0,
            "mean": -0.5,
            "std": pytest.approx(24.5**0.5),
            "max": 3.0,
            "min": -4.0,
            "shape": [1, 2],
        }
        assert layers["bias"] == {"norm": 2.0, "mean": 2.0, "std": 0.0, "max": 2.0, "min": 2.0, "shape": [1]}


def test_the_history_of_a_monitor():
    model = nn.Linear(2, 1)
    monitor = GradientHealthMonitor(model)
    empty = {"global_norm": [], "max_norm": [], "min_norm": []}
    assert (monitor.gradient_history, monitor.nan_inf_counts, monitor.step_counter) == (empty, {"nan": 0, "inf": 0}, 0)
    for scale in (1.0, 2.0):
        model.weight.grad, model.bias.grad = torch.tensor([[0.0, 4.0]]) * scale, torch.tensor([3.0]) * scale
        monitor.check_gradients()
    assert monitor.gradient_history == {"global_norm": [5.0, 10.0], "max_norm": [4.0, 8.0], "min_norm": [3.0, 6.0]}
    for weight, bias in ((math.nan, math.inf), (math.inf, math.inf)):
        model.weight.grad, model.bias.grad = torch.tensor([[1.0, weight]]), torch.tensor([bias])
        monitor.check_gradients()
    model.weight.grad = torch.tensor([[math.nan, math.inf]])
    monitor.check_gradients()
    assert (monitor.nan_inf_counts, monitor.step_counter) == ({"nan": 2, "inf": 5}, 5)
    monitor.apply_gradient_clipping(1.0)
    monitor.get_gradient_flow_summary()
    assert len(monitor.gradient_history["global_norm"]) == monitor.step_counter == 5  # only checks count
    monitor.reset_statistics()
    assert (monitor.gradient_history, monitor.nan_inf_counts, monitor.step_counter) == (empty, {"nan": 0, "inf": 0}, 0)


def test_clipping_scales_down_to_a_norm_of_1_by_default():
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert GradientHealthMonitor(model, grad_clip_threshold=2.0).apply_gradient_clipping() == 5.0
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.6, 0.8]]))


def test_a_monitor_can_be_pickled():
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    monitor = GradientHealthMonitor(model)
    monitor.check_gradients()
    assert pickle.loads(pickle.dumps(monitor)).check_gradients()["params_with_grads"] == 0
