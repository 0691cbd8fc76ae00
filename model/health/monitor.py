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
from model.health.advice import Adviser, gradient_advice
from model.health.clipping import coefficient, scale_gradients
from model.health.details import layer_details
from model.health.examine import GradientReport, examine, split_by_health
from model.health.stats import parameter_norms, total_norm

log = logging.getLogger(__name__)


class GradientHealthMonitor:
    """Measures the gradients of `model` after a backward pass, says what is wrong with them, and clips them."""

    def __init__(
        self,
        model: nn.Module,
        grad_clip_threshold: float = 1.0,
        vanishing_threshold: float = 1e-7,
        exploding_threshold: float = 100.0,
        log_frequency: int = 100,
    ) -> None:
        """grad_clip_threshold: the norm that `apply_gradient_clipping` scales down to; vanishing_threshold: a
        parameter's gradient norm below this counts as vanishing; exploding_threshold: a norm above this counts as
        exploding; log_frequency: steps between two summaries. Raises ValueError for a number out of range.
        """
        at_least("grad_clip_threshold", grad_clip_threshold, 0)
        at_least("vanishing_threshold", vanishing_threshold, 0)
        allowed = f"a number above vanishing_threshold={vanishing_threshold}"
        require(
            exploding_threshold > vanishing_threshold,
            "exploding_threshold",
            exploding_threshold,
            "is too small",
            allowed,
        )
        at_least("log_frequency", log_frequency, 1)
        self.model = model
        self.grad_clip_threshold = grad_clip_threshold
        self.vanishing_threshold = vanishing_threshold
        self.exploding_threshold = exploding_threshold
        self.log_frequency = log_frequency
        self._adviser = Adviser()
        self._measured: Measured | None = None

    def check_gradients(self, per_layer: bool = False) -> dict[str, Any]:
        """Statistics of the gradients as they stand, as Python numbers: one fused pass, one transfer to the host.

        global_grad_norm: Euclidean norm of all gradients as one vector; max_, min_, mean_grad_norm: over the
        parameters' norms (0 where there are none); has_nan, has_inf: of any element; layer_stats: parameter name ->
        norm and shape, with `per_layer` also mean, std, min, max and histogram; recommendations: advice in words;
        param_count, params_with_grads: numbers of parameters.
        """
        named = list(self.model.named_parameters())
        report, gradients = self._report()
        layers = {name: {"norm": norm, "shape": list(gradients[name].shape)} for name, norm in report.norms.items()}
        if per_layer:
            layers = {name: stats | layer_details(gradients[name]) for name, stats in layers.items()}
        without = [name for name, parameter in named if parameter.requires_grad and parameter.grad is None]
        return {
            "global_grad_norm": report.global_norm,
            "max_grad_norm": report.max_norm,
            "min_grad_norm": report.min_norm,
            "mean_grad_norm": report.mean_norm,
            "has_nan": bool(report.nan),
            "has_inf": bool(report.inf),
            "layer_stats": layers,
            "recommendations": gradient_advice(
                report, report.norms, without, self.vanishing_threshold, self.exploding_threshold
            ),
            "param_count": len(named),
            "params_with_grads": sum(parameter.grad is not None for _, parameter in named),
        }

    def log_statistics(self, stats: dict[str, Any], step: int = 0, logger: Any = None) -> None:
        """Writes a summary line every `log_frequency` steps, and the advice in `stats`, each kind once in a while; a
        NaN or Inf at once.

        logger: anything with `log(dict, step=...)`, as Weights & Biases has it; gets the figures as grad/* at every
        call.
        """
        due = step % self.log_frequency == 0
        if due:
            log.info(
                "Step %d - Gradient Health: Global Norm=%.2f, Max=%.2f, Min=%.2e",
                step, stats["global_grad_norm"], stats["max_grad_norm"], stats["min_grad_norm"],
            )  # fmt: skip
        if due or stats["has_nan"] or stats["has_inf"]:
            for advice in self._adviser.news(stats["recommendations"], step):
                log.warning("%s", advice)
        if logger is not None:
            logger.log(as_metrics(stats), step=step)

    def apply_gradient_clipping(self, max_norm: float | None = None) -> Tensor:
        """Scales the gradients down to the global norm `max_norm` (None: `grad_clip_threshold`); returns the norm
        before, 0-dimensional.

        The arithmetic of `torch.nn.utils.clip_grad_norm_`, but right where its squares overflow. Reuses the norm of the
        last check where the gradients are untouched since (changes made through `.data` are not seen). Raises
        ValueError for a negative `max_norm`.
        """
        limit = self.grad_clip_threshold if max_norm is None else max_norm
        at_least("max_norm", limit, 0)
        gradients = list(self._gradients().values())
        if self._measured is None or not self._measured.still_holds(gradients):
            self._report()
        total = self._measured.total
        scale_gradients(gradients, coefficient(total, limit, above=None))
        return total

    def get_gradient_flow_summary(self) -> dict[str, list[tuple[str, float]]]:
        """(parameter name, gradient norm) pairs, by whether the norm is below, above or between the thresholds."""
        parts = split_by_health(self._report()[0].norms, self.vanishing_threshold, self.exploding_threshold)
        return {f"layers_with_{kind}_grads": parts[kind] for kind in ("vanishing", "exploding", "healthy")}

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: without the memory of the last measurement."""
        return self.__dict__ | {"_measured": None}

    def _gradients(self) -> dict[str, Tensor]:
        """Parameter name -> gradient, where there is one with elements."""
        return {
            name: parameter.grad
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None and parameter.grad.numel()
        }

    def _report(self) -> tuple[GradientReport, dict[str, Tensor]]:
        """Measures, and remembers what was measured."""
        gradients = self._gradients()
        values = list(gradients.values())
        norms = parameter_norms(values)
        total = total_norm(norms)
        *each, torchs = torch.cat([norms, total[None]]).tolist()
        report = examine(list(gradients), values, each, torchs)
        overflowed = report.finite and not math.isfinite(torchs)
        exact = torch.tensor(report.global_norm, dtype=torch.float64, device=total.device) if overflowed else total
        self._measured = Measured(values, exact)
        return report, gradients


class Measured:
    """A norm and the gradients it was measured on, told by identity and version; holds no gradient alive."""

    def __init__(self, gradients: Sequence[Tensor], total: Tensor) -> None:
        self.total = total
        self._seen = [(weakref.ref(gradient), gradient._version) for gradient in gradients]

    def still_holds(self, gradients: Sequence[Tensor]) -> bool:
        """Whether `gradients` are those that were measured, unchanged."""
        if len(gradients) != len(self._seen):
            return False
        return all(
            ref() is gradient and version == gradient._version
            for (ref, version), gradient in zip(self._seen, gradients, strict=True)
        )


def as_metrics(stats: dict[str, Any]) -> dict[str, float]:
    """The figures of `check_gradients` under their metric names."""
    names = {
        "global_norm": "global_grad_norm",
        "max_norm": "max_grad_norm",
        "min_norm": "min_grad_norm",
        "mean_norm": "mean_grad_norm",
    }
    figures = {f"grad/{name}": stats[key] for name, key in names.items()}
    return figures | {"grad/has_nan": float(stats["has_nan"]), "grad/has_inf": float(stats["has_inf"])}
