"""The gradient monitor for any training loop: plain PyTorch."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import at_least, require
from model.health.advice import AdviceFilter, gradient_advice
from model.health.clipping import clip_coefficient, scale_gradients
from model.health.examine import GradientReport, examine, split_by_health
from model.health.stats import layer_details, parameter_norms, total_norm

log = logging.getLogger(__name__)

# Name of a metric -> key of the result of `check_gradients`.
METRIC_KEYS = {
    "grad/global_norm": "global_grad_norm",
    "grad/max_norm": "max_grad_norm",
    "grad/min_norm": "min_grad_norm",
    "grad/mean_norm": "mean_grad_norm",
    "grad/has_nan": "has_nan",
    "grad/has_inf": "has_inf",
}


class GradientHealthMonitor:
    """Measures the gradients of `model` after a backward pass, names problems, and clips the gradients."""

    def __init__(
        self,
        model: nn.Module,
        grad_clip_threshold: float = 1.0,
        vanishing_threshold: float = 1e-7,
        exploding_threshold: float = 100.0,
        log_frequency: int = 100,
    ) -> None:
        """grad_clip_threshold: the norm that `apply_gradient_clipping` scales down to. vanishing_threshold,
        exploding_threshold: a parameter's gradient norm below (above) this counts as vanishing (exploding).
        log_frequency: the number of steps between two summaries. Raises ValueError for a number out of range.
        """
        at_least("grad_clip_threshold", grad_clip_threshold, 0)
        at_least("vanishing_threshold", vanishing_threshold, 0)
        require(
            exploding_threshold > vanishing_threshold,
            "exploding_threshold",
            exploding_threshold,
            "is too small",
            f"a number above vanishing_threshold={vanishing_threshold}",
        )
        at_least("log_frequency", log_frequency, 1)
        self.model = model
        self.grad_clip_threshold = grad_clip_threshold
        self.vanishing_threshold = vanishing_threshold
        self.exploding_threshold = exploding_threshold
        self.log_frequency = log_frequency
        self._advice_filter = AdviceFilter()
        self._last_norm: TotalNorm | None = None

    def check_gradients(self, per_layer: bool = False) -> dict[str, Any]:
        """Returns statistics of the current gradients as Python numbers, from one fused pass and one transfer to the
        host.

        global_grad_norm: the Euclidean norm of all gradients as one vector. max_grad_norm, min_grad_norm,
        mean_grad_norm: of the parameters' norms, 0 without gradients. has_nan, has_inf: whether any element is.
        layer_stats: norm and shape by parameter name; with `per_layer` also mean, std, min, max and histogram.
        recommendations: advice in words. param_count, params_with_grads: the numbers of parameters.
        """
        parameters = list(self.model.named_parameters())
        report, gradients, _ = self._measure()
        layers: dict[str, dict[str, Any]] = {
            name: {"norm": norm, "shape": list(gradients[name].shape)} for name, norm in report.norms.items()
        }
        if per_layer:
            layers = {name: stats | layer_details(gradients[name]) for name, stats in layers.items()}
        without_gradient = [name for name, p in parameters if p.requires_grad and p.grad is None]
        return {
            "global_grad_norm": report.global_norm,
            "max_grad_norm": report.max_norm,
            "min_grad_norm": report.min_norm,
            "mean_grad_norm": report.mean_norm,
            "has_nan": bool(report.nan),
            "has_inf": bool(report.inf),
            "layer_stats": layers,
            "recommendations": gradient_advice(
                report, report.norms, without_gradient, self.vanishing_threshold, self.exploding_threshold
            ),
            "param_count": len(parameters),
            "params_with_grads": sum(parameter.grad is not None for _, parameter in parameters),
        }

    def log_statistics(self, stats: dict[str, Any], step: int = 0, logger: Any = None) -> None:
        """Logs a summary line and the advice in `stats` every `log_frequency` steps, and advice on a NaN or Inf at
        once. The same kind of advice is not repeated for 1,000 steps.

        logger: any object with `log(dict, step=...)`, such as a Weights & Biases run; receives the figures as grad/*
        at every call.
        """
        due = step % self.log_frequency == 0
        if due:
            log.info(
                "Step %d - Gradient Health: Global Norm=%.2f, Max=%.2f, Min=%.2e",
                step, stats["global_grad_norm"], stats["max_grad_norm"], stats["min_grad_norm"],
            )  # fmt: skip
        if due or stats["has_nan"] or stats["has_inf"]:
            for advice in self._advice_filter.select(stats["recommendations"], step):
                log.warning("%s", advice)
        if logger is not None:
            logger.log(as_metrics(stats), step=step)

    def apply_gradient_clipping(self, max_norm: float | None = None) -> Tensor:
        """Scales the gradients down to the global norm `max_norm` (None: `grad_clip_threshold`). Returns the norm
        before clipping, 0-dimensional.

        Uses the arithmetic of `torch.nn.utils.clip_grad_norm_`, but is correct where its squares overflow. Reuses the
        norm of the last check where the gradients have not changed since; changes through `.data` are not noticed.
        Raises ValueError for a negative `max_norm`.
        """
        limit = self.grad_clip_threshold if max_norm is None else max_norm
        at_least("max_norm", limit, 0)
        gradients = list(self._gradients().values())
        norm = self._last_norm
        if norm is None or not norm.is_current(gradients):
            _, _, norm = self._measure()
        scale_gradients(gradients, clip_coefficient(norm.value, limit, clip_above=None))
        return norm.value

    def get_gradient_flow_summary(self) -> dict[str, list[tuple[str, float]]]:
        """Returns (parameter name, gradient norm) pairs under layers_with_vanishing_grads, layers_with_exploding_grads
        and layers_with_healthy_grads.
        """
        report, _, _ = self._measure()
        groups = split_by_health(report.norms, self.vanishing_threshold, self.exploding_threshold)
        return {f"layers_with_{group}_grads": groups[group] for group in ("vanishing", "exploding", "healthy")}

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state for pickling, without the norm of the last check."""
        return self.__dict__ | {"_last_norm": None}

    def _gradients(self) -> dict[str, Tensor]:
        """Returns the gradients with at least one element, by parameter name."""
        return {
            name: parameter.grad
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None and parameter.grad.numel()
        }

    def _measure(self) -> tuple[GradientReport, dict[str, Tensor], TotalNorm]:
        """Measures the gradients, and keeps their norm for clipping."""
        gradients = self._gradients()
        values = list(gradients.values())
        norms = parameter_norms(values)
        total = total_norm(norms)
        *norm_list, torch_total = torch.cat([norms, total[None]]).tolist()
        report = examine(list(gradients), values, norm_list, torch_total)
        if report.finite and not math.isfinite(torch_total):  # the squares overflowed
            total = torch.tensor(report.global_norm, dtype=torch.float64, device=total.device)
        self._last_norm = TotalNorm(values, total)
        return report, gradients, self._last_norm


class TotalNorm:
    """The norm of all gradients as one vector, with the identity and version of each gradient. Keeps no gradient
    alive.
    """

    def __init__(self, gradients: Sequence[Tensor], value: Tensor) -> None:
        self.value = value
        self._versions = [(weakref.ref(gradient), gradient._version) for gradient in gradients]

    def is_current(self, gradients: Sequence[Tensor]) -> bool:
        """Returns whether `gradients` are the measured tensors, unchanged."""
        if len(gradients) != len(self._versions):
            return False
        return all(
            reference() is gradient and version == gradient._version
            for (reference, version), gradient in zip(self._versions, gradients, strict=True)
        )


def as_metrics(stats: dict[str, Any]) -> dict[str, float]:
    """Returns the figures of `check_gradients` under the names of their metrics."""
    return {metric: float(stats[key]) for metric, key in METRIC_KEYS.items()}
