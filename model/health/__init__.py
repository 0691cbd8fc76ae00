"""The health of gradients: measured, named, acted upon. `model.health.callback` is Lightning's side of it."""

from __future__ import annotations

from model.health.limits import HealthSettings
from model.health.monitor import GradientHealthMonitor

__all__ = ["GradientHealthMonitor", "HealthSettings"]
