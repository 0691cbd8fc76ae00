"""The other names of the old gradient modules: activations, noise, recommendations and the mixin."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from model.config.schema import BackboneConfig
from model.GradientHealthCheck import (
    ActivationMonitor,
    add_gradient_noise,
    get_activation_function_recommendations,
)
from model.IntegrateGradientHealthChecks import EnhancedTrainingMixin
from tests.legacy.two_towers import TwoTowers

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


def test_the_activation_monitor():
    model = nn.Sequential(nn.ReLU())
    monitor = ActivationMonitor(model)
    monitor.register_hooks()
    model(torch.tensor([[-1.0, 2.0, 4.0, 1e-3]]))
    monitor.remove_hooks()
    model(torch.ones(1, 4))
    statistics = monitor.get_statistics()["0"]
    assert (statistics["mean"], statistics["max"], statistics["min"]) == (pytest.approx(6.001 / 4), 4.0, 0.0)
    assert monitor.detect_dead_neurons() == {"0": 0.25}
    assert monitor.detect_dead_neurons(threshold=0.1) == {"0": 0.5}


def test_noise_on_gradients():
    torch.manual_seed(0)
    model = nn.Linear(100, 100, bias=False)
    model.weight.grad = torch.ones(100, 100)
    add_gradient_noise(model, 0.5, 0.9)
    assert float(model.weight.grad.mean()) == pytest.approx(1, abs=0.02)
    assert float(model.weight.grad.std()) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("problem", "functions"),
    [
        ("vanishing", ["GELU", "SiLU", "Leaky ReLU or ELU", "Mish"]),
        ("exploding", ["Normalisation", "Tanh", "Sigmoid", "Hard swish"]),
        ("dead_neurons", ["Leaky ReLU", "ELU", "SELU", "GELU"]),
    ],
)
def test_recommended_activation_functions(problem, functions):

    sentences = get_activation_function_recommendations("transformer", problem)
    assert len(sentences) == len(functions)
    for sentence, function in zip(sentences, functions, strict=True):
        assert sentence.startswith(function)
        assert "transformer: " in sentence
        settings = re.findall(r"backbone\.(\w+)=(\w+)", sentence)
        assert settings or "torch.nn." in sentence
        for key, value in settings:
            assert key in BackboneConfig.__dataclass_fields__
            assert value in ACT2FN or (key, value) == ("translator_norm", "pre")
    if problem == "vanishing":
        assert get_activation_function_recommendations("transformer") == sentences


def test_a_problem_without_recommendations_is_refused():
    with pytest.raises(ValueError, match="problem=slow is not known; allowed: vanishing, exploding, dead_neurons"):
        get_activation_function_recommendations("mlp", problem="slow")


def test_the_mixin():
    class Mixed(EnhancedTrainingMixin, TwoTowers):
        """A module with the mixin."""

        def __init__(self) -> None:
            super().__init__()
            self.setup_gradient_monitoring(
                enable_activation_monitoring=True, gradient_clip_threshold=1.0, log_frequency=100
            )

    module = Mixed()
    (100 * module(torch.ones(4, 32), torch.eye(4, 32))).sum().backward()
    stats = module.check_and_log_gradients(step=0, apply_clipping=True, max_grad_norm=0.5)
    assert stats["global_grad_norm"] > 0.5
    assert torch.cat([parameter.grad.flatten() for parameter in module.parameters()]).norm() == pytest.approx(
        0.5, rel=1e-5
    )
    leaves = {f"{tower}_encoder.{index}" for tower in ("image", "text") for index in (0, 1, 2)}
    assert set(module.get_activation_statistics()["activations"]) == leaves
    module.setup_gradient_monitoring(enable_gradient_monitoring=False)
    assert module.check_and_log_gradients(step=1) == {}
