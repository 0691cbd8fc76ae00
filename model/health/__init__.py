"""The health of gradients: measured, named, acted upon. `model.health.callback` is Lightning's side of it."""

from __future__ import annotations

from model.health.activations import ActivationMonitor
from model.health.limits import HealthSettings
from model.health.monitor import GradientHealthMonitor
from model.health.noise import add_gradient_noise
from model.health.policy import TrainingHalted

__all__ = ["GradientHealthMonitor", "ActivationMonitor", "add_gradient_noise", "HealthSettings", "TrainingHalted"]
