"""Measures the health of gradients, gives advice, and acts on bad steps, in any PyTorch training loop.

`model.health.callback` connects it to Lightning.
"""

from __future__ import annotations

from model.health.activations import ActivationMonitor
from model.health.limits import HealthSettings
from model.health.monitor import GradientHealthMonitor
from model.health.noise import add_gradient_noise
from model.health.policy import Action, TrainingHalted
from model.health.step import HealthStep

__all__ = [
    "GradientHealthMonitor",
    "HealthStep",
    "HealthSettings",
    "Action",
    "TrainingHalted",
    "ActivationMonitor",
    "add_gradient_noise",
]
