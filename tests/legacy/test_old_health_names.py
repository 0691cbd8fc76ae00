"""Code written against the old gradient modules runs, and is told once where things are now."""

from __future__ import annotations

import logging
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:model.GradientHealthCheck:DeprecationWarning", "ignore:model.IntegrateGradient:DeprecationWarning")


class TwoTowers(nn.Module):
    """Two towers of two layers and a scale: nine parameters."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image_encoder = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features))
        self.text_encoder = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features))
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        image, text = (nn.functional.normalize(part, dim=-1) for part in (self.image_encoder(images), self.text_encoder(texts)))
        return image @ text.T * self.logit_scale.exp()


def test_the_quick_start_as_written(caplog):
    from model.GradientHealthCheck import GradientHealthMonitor

    class Trained(nn.Module):
        """A module that monitors itself."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(5)])
            self.global_step = 100
            self.grad_monitor = GradientHealthMonitor(model=self, grad_clip_threshold=1.0, exploding_threshold=10.0, log_frequency=100)

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
    from model.GradientHealthCheck import GradientHealthMonitor

    model = TwoTowers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    monitor = GradientHealthMonitor(model=model, grad_clip_threshold=1.0, vanishing_threshold=1e-7, exploding_threshold=10.0, log_frequency=1)
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
    assert sum(record.message.startswith(f"Step {step} - Gradient Health: ") for step in range(5) for record in caplog.records) == 5
    summary = monitor.get_gradient_flow_summary()
    assert [len(summary[f"layers_with_{kind}_grads"]) for kind in ("healthy", "vanishing", "exploding")] == [9, 0, 0]


def test_a_logger_gets_the_figures():
    from model.GradientHealthCheck import GradientHealthMonitor

    class Logger:
        """Keeps what it is given."""

        def log(self, values: dict, step: int) -> None:
            self.values, self.step = values, step

    model, logger = nn.Linear(2, 1, bias=False), Logger()
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    monitor = GradientHealthMonitor(model)
    monitor.log_statistics(monitor.check_gradients(), step=7, logger=logger)
    norms = {f"grad/{kind}_norm": 5.0 for kind in ("global", "max", "min", "mean")}
    assert (logger.step, logger.values) == (7, norms | {"grad/has_nan": 0.0, "grad/has_inf": 0.0})


def test_the_switch_for_details():
    from model.GradientHealthCheck import ActivationMonitor, GradientHealthMonitor, add_gradient_noise

    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    assert "mean" in GradientHealthMonitor(model, enable_detailed_logging=True).check_gradients()["layer_stats"]["weight"]
    assert "mean" not in GradientHealthMonitor(model).check_gradients()["layer_stats"]["weight"]
    add_gradient_noise(model, noise_std=1e-5, gamma=0.55)
    assert ActivationMonitor(model).get_statistics() == {}


def test_the_mixin():
    from model.IntegrateGradientHealthChecks import EnhancedTrainingMixin

    class Mixed(EnhancedTrainingMixin, TwoTowers):
        """Monitors itself."""

        def __init__(self) -> None:
            super().__init__()
            self.setup_gradient_monitoring(enable_activation_monitoring=True, gradient_clip_threshold=1.0, log_frequency=100)

    module = Mixed()
    (100 * module(torch.ones(4, 32), torch.eye(4, 32))).sum().backward()
    stats = module.check_and_log_gradients(step=0, apply_clipping=True, max_grad_norm=0.5)
    assert stats["global_grad_norm"] > 0.5
    assert torch.cat([p.grad.flatten() for p in module.parameters()]).norm() == pytest.approx(0.5, rel=1e-5)
    leaves = {f"{tower}_encoder.{index}" for tower in ("image", "text") for index in (0, 1, 2)}
    assert set(module.get_activation_statistics()["activations"]) == leaves
    module.setup_gradient_monitoring(enable_gradient_monitoring=False)
    assert module.check_and_log_gradients(step=1) == {}


def test_a_monitor_can_be_pickled():
    from model.GradientHealthCheck import GradientHealthMonitor

    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    monitor = GradientHealthMonitor(model)
    monitor.check_gradients()
    assert pickle.loads(pickle.dumps(monitor)).check_gradients()["params_with_grads"] == 0


@pytest.mark.parametrize(("old", "new"), [("GradientHealthCheck", "model.health"), ("IntegrateGradientHealthChecks", "model.health.callback")])
def test_one_warning_names_the_replacement(old, new):
    code = f"import warnings; warnings.simplefilter('always'); import model.{old}; import model.{old}"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert said.count("DeprecationWarning") == 1
    assert f"model.{old} has become {new}: " in said
