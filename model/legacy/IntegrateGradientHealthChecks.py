"""Old names: `model.health.callback.GradientHealthCallback` checks a module without a change to it; `model.losses`
replaces the loss functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import unwrap
from typing import Any

from torch import Tensor, nn

from model.errors import require
from model.health import ActivationMonitor
from model.legacy._checkpointing import checkpoint_submodules
from model.legacy._deprecation import old_name, warn_once
from model.legacy._monitor import RecordingMonitor
from model.legacy.StableLossFunctions import get_stable_loss_function

__all__ = [
    "EnhancedTrainingMixin",
    "integrate_health_checks",
    "replace_loss_function_with_stable_version",
    "add_gradient_checkpointing",
]

CALLBACK = "model.health.callback.GradientHealthCallback(HealthSettings(clip=1.0), None) among the Trainer's callbacks"
TO_CHECKPOINT = ("transformer", "TransformerEncoderLayer", "ResidualAttentionBlock")


class EnhancedTrainingMixin:
    """Adds a gradient monitor to a LightningModule. The monitor sees the gradient after each backward pass, which is
    scaled with 16-mixed, and incomplete with accumulation. The callback sees the complete, unscaled gradient of a step.
    """

    def setup_gradient_monitoring(
        self,
        enable_gradient_monitoring: bool = True,
        enable_activation_monitoring: bool = False,
        gradient_clip_threshold: float = 1.0,
        log_frequency: int = 100,
    ) -> None:
        """Creates the monitors. Call this function at the end of `__init__` of the module."""
        warn_once(f"{__name__}.EnhancedTrainingMixin", CALLBACK)
        assert isinstance(self, nn.Module)
        self.enable_gradient_monitoring = enable_gradient_monitoring
        self.enable_activation_monitoring = enable_activation_monitoring
        if enable_gradient_monitoring:
            self.gradient_monitor = RecordingMonitor(
                self, grad_clip_threshold=gradient_clip_threshold, log_frequency=log_frequency
            )
        if enable_activation_monitoring:
            self.activation_monitor = ActivationMonitor(self)
            self.activation_monitor.register_hooks()

    def check_and_log_gradients(
        self, step: int, apply_clipping: bool = False, max_grad_norm: float = 1.0
    ) -> dict[str, Any]:
        """Returns statistics of the gradients; empty if monitoring is off. Clips them with apply_clipping=True, and
        when they explode.
        """
        if not self.enable_gradient_monitoring:
            return {}
        monitor = self.gradient_monitor
        stats = monitor.check_gradients()
        monitor.log_statistics(stats, step=step)
        if apply_clipping or stats["global_grad_norm"] > monitor.exploding_threshold:
            monitor.apply_gradient_clipping(max_norm=max_grad_norm)
        return stats

    def get_activation_statistics(self) -> dict[str, Any]:
        """Returns activations, the statistics of every leaf module, and dead_neurons, the share of dead units of every
        module that has dead units.
        """
        if not self.enable_activation_monitoring:
            return {}
        return {
            "activations": self.activation_monitor.get_statistics(),
            "dead_neurons": self.activation_monitor.detect_dead_neurons(),
        }


@old_name(CALLBACK)
def integrate_health_checks(
    module: Any, loss: Tensor, step: int, apply_gradient_clipping: bool = True, max_grad_norm: float = 1.0
) -> dict[str, Any]:  # fmt: skip
    """Checks the gradients of `module`. Call it after the backward pass and before the optimizer's step.

    Returns `loss`, and, if the module has a `gradient_monitor`, `gradient_stats`, the result of its
    `check_and_log_gradients`. Logs grad/global_norm, grad/has_nan and grad/has_inf if the module has a function `log`.
    """
    if not hasattr(module, "gradient_monitor"):
        return {"loss": loss}
    stats = module.check_and_log_gradients(step, apply_clipping=apply_gradient_clipping, max_grad_norm=max_grad_norm)
    if stats and hasattr(module, "log"):
        for name, key in (("global_norm", "global_grad_norm"), ("has_nan", "has_nan"), ("has_inf", "has_inf")):
            module.log(f"grad/{name}", float(stats[key]))
    return {"loss": loss, "gradient_stats": stats}


@old_name("loss=stable_norm, or model.losses.make_loss")
def replace_loss_function_with_stable_version(
    module: Any, loss_version: int = 1, normalize: bool = True, eps: float = 1e-8
) -> None:
    """Replaces `module.calculate_loss` by a function of `get_stable_loss_function`; the original one is kept as
    `module.calculate_loss_original`.

    Raises ConfigError, a ValueError, for a module without `calculate_loss`.
    """
    require(
        hasattr(module, "calculate_loss"),
        "module",
        type(module).__name__,
        "has no calculate_loss",
        "a module with a function of that name",
    )
    if not hasattr(module, "calculate_loss_original"):
        module.calculate_loss_original = module.calculate_loss
    module.calculate_loss = unwrap(get_stable_loss_function)(loss_version, normalize, eps)


@old_name("torch.utils.checkpoint.checkpoint in the forward of the submodules")
def add_gradient_checkpointing(model: nn.Module, modules_to_checkpoint: Sequence[str] | None = None) -> nn.Module:
    """Makes submodules of `model` compute their activations again in the backward pass, which takes time and saves
    memory; gradients are equal.

    modules_to_checkpoint: parts of dotted names or class names; None: transformer, TransformerEncoderLayer,
    ResidualAttentionBlock. Submodules inside a named submodule are recomputed with it. Gives a UserWarning if no
    submodule has such a name. Returns `model`.
    """
    checkpoint_submodules(model, TO_CHECKPOINT if modules_to_checkpoint is None else modules_to_checkpoint)
    return model
