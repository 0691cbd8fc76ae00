"""Old names: `model.health` replaces this module."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from model import health
from model.legacy._deprecation import old_name, warn_once
from model.legacy._monitor import RecordingMonitor
from model.legacy._recommendations import recommendations

__all__ = [
    "GradientHealthMonitor",
    "ActivationMonitor",
    "add_gradient_noise",
    "get_activation_function_recommendations",
]


class GradientHealthMonitor(RecordingMonitor):
    """The gradient monitor with its old signature and attributes."""

    __signature__ = inspect.signature(RecordingMonitor)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Takes the arguments of RecordingMonitor, and warns."""
        warn_once(f"{__name__}.GradientHealthMonitor", "model.health.GradientHealthMonitor")
        super().__init__(*arguments, **keywords)


class ActivationMonitor(health.ActivationMonitor):
    """`model.health.ActivationMonitor` with its old signature."""

    def __init__(self, model: nn.Module) -> None:
        warn_once(f"{__name__}.ActivationMonitor", "model.health.ActivationMonitor")
        super().__init__(model)

    def detect_dead_neurons(self, threshold: float = 1e-6) -> dict[str, float]:
        """Returns module path -> the share of units whose magnitude stayed below `threshold` in every call. Modules
        without such units are left out.
        """
        return super().detect_dead_neurons(threshold)


@old_name("model.health.add_gradient_noise, which takes the step too")
def add_gradient_noise(model: nn.Module, noise_std: float = 1e-5, gamma: float = 0.55) -> None:
    """Adds independent noise of standard deviation `noise_std` to every element of every gradient of `model`.

    gamma: how fast the noise decays with the step. This function does not know the step and always uses the deviation
    of step 0. Raises TypeError for a sparse gradient.
    """
    health.add_gradient_noise(model, noise_std, gamma)


@old_name("the setting backbone.activation")
def get_activation_function_recommendations(layer_type: str, problem: str = "vanishing") -> list[str]:
    """Returns sentences about activation functions that help against `problem` (vanishing, exploding, dead_neurons),
    each with the setting that chooses the function.

    layer_type: what the sentences call the layer. Raises ConfigError, a ValueError, for another problem.
    """
    return recommendations(layer_type, problem)
