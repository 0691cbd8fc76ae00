"""Old name of what `model.health.callback.GradientHealthCallback` does without a change to the module."""

from __future__ import annotations

import warnings
from typing import Any

from model.health import ActivationMonitor, GradientHealthMonitor

__all__ = ["EnhancedTrainingMixin"]

warnings.warn(
    "model.IntegrateGradientHealthChecks has become model.health.callback: give the Trainer GradientHealthCallback(HealthSettings(clip=1.0), None)",
    DeprecationWarning,
    stacklevel=2,
)


class EnhancedTrainingMixin:
    """Gives a LightningModule a gradient monitor of its own. It sees each backward pass's gradient: scaled under 16-mixed, and before
    accumulation is complete; the callback does not."""

    def setup_gradient_monitoring(
        self,
        enable_gradient_monitoring: bool = True,
        enable_activation_monitoring: bool = False,
        gradient_clip_threshold: float = 1.0,
        log_frequency: int = 100,
    ) -> None:
        """To be called at the end of `__init__`."""
        self.enable_gradient_monitoring = enable_gradient_monitoring
        self.enable_activation_monitoring = enable_activation_monitoring
        if enable_gradient_monitoring:
            self.gradient_monitor = GradientHealthMonitor(self, grad_clip_threshold=gradient_clip_threshold, log_frequency=log_frequency)
        if enable_activation_monitoring:
            self.activation_monitor = ActivationMonitor(self)
            self.activation_monitor.register_hooks()

    def check_and_log_gradients(self, step: int, apply_clipping: bool = False, max_grad_norm: float = 1.0) -> dict[str, Any]:
        """Statistics of the gradients; clips when asked to, or when they explode. Empty where monitoring is off."""
        if not self.enable_gradient_monitoring:
            return {}
        monitor = self.gradient_monitor
        stats = monitor.check_gradients()
        monitor.log_statistics(stats, step=step)
        if apply_clipping or stats["global_grad_norm"] > monitor.exploding_threshold:
            monitor.apply_gradient_clipping(max_norm=max_grad_norm)
        return stats

    def get_activation_statistics(self) -> dict[str, Any]:
        """activations: statistics of every leaf module; dead_neurons: share of dead units of those that have any."""
        if not self.enable_activation_monitoring:
            return {}
        return {"activations": self.activation_monitor.get_statistics(), "dead_neurons": self.activation_monitor.detect_dead_neurons()}
