"""Old name of `model.health`."""

from __future__ import annotations

import warnings
from typing import Any

from model import health
from model.health import ActivationMonitor, add_gradient_noise

__all__ = ["GradientHealthMonitor", "ActivationMonitor", "add_gradient_noise"]

warnings.warn("model.GradientHealthCheck has become model.health: from model.health import GradientHealthMonitor", DeprecationWarning, stacklevel=2)


class GradientHealthMonitor(health.GradientHealthMonitor):
    """`model.health.GradientHealthMonitor`, with the old switch for moments and extremes in layer_stats."""

    def __init__(self, *arguments: Any, enable_detailed_logging: bool = False, **keywords: Any) -> None:
        """enable_detailed_logging: what is now `check_gradients(per_layer=True)`."""
        super().__init__(*arguments, **keywords)
        self.enable_detailed_logging = enable_detailed_logging

    def check_gradients(self, per_layer: bool | None = None) -> dict[str, Any]:
        """As the new one's."""
        return super().check_gradients(per_layer=self.enable_detailed_logging if per_layer is None else per_layer)
