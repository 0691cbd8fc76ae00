"""`model.health.GradientHealthMonitor` with the history, the counts and the figures of every parameter that the old
monitor kept.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from model import health
from model.health.monitor import as_metrics
from model.health.stats import nonfinite_kinds

HISTORY = ("global_norm", "max_norm", "min_norm")
LAYER_FIGURES = ("norm", "mean", "std", "max", "min")


class RecordingMonitor(health.GradientHealthMonitor):
    """The monitor, with a record of the checks since its construction or since the last `reset_statistics`."""

    def __init__(
        self,
        model: nn.Module,
        grad_clip_threshold: float = 1.0,
        vanishing_threshold: float = 1e-7,
        exploding_threshold: float = 100.0,
        log_frequency: int = 100,
        enable_detailed_logging: bool = True,
    ) -> None:
        """enable_detailed_logging: whether `log_statistics` sends the figures of every parameter to its logger. For the
        other arguments and the errors see `model.health.GradientHealthMonitor`.
        """
        super().__init__(model, grad_clip_threshold, vanishing_threshold, exploding_threshold, log_frequency)
        self.enable_detailed_logging = enable_detailed_logging
        self.reset_statistics()

    def reset_statistics(self) -> None:
        """Empties the history and sets the counts to 0."""
        # Figure -> its value in every check, oldest first.
        self.gradient_history: dict[str, list[float]] = {figure: [] for figure in HISTORY}
        # Parameters whose gradient held a NaN, or an Inf, over all checks.
        self.nan_inf_counts = {"nan": 0, "inf": 0}
        self.step_counter = 0

    def check_gradients(self) -> dict[str, Any]:  # type: ignore[override]  # the old signature, which tests pin
        """Statistics of the current gradients, as in `model.health.GradientHealthMonitor.check_gradients`; adds them to
        the history.

        layer_stats: parameter name -> norm, mean, std, max, min and shape of its gradient.
        """
        stats = super().check_gradients(per_layer=True)
        stats["layer_stats"] = {
            name: {key: layer[key] for key in (*LAYER_FIGURES, "shape")} for name, layer in stats["layer_stats"].items()
        }
        self.step_counter += 1
        for figure in HISTORY:
            self.gradient_history[figure].append(stats[figure.replace("_norm", "_grad_norm")])
        if stats["has_nan"] or stats["has_inf"]:
            kinds = [nonfinite_kinds(gradient) for gradient in self._gradients().values()]
            self.nan_inf_counts["nan"] += sum(nan for nan, _ in kinds)
            self.nan_inf_counts["inf"] += sum(inf for _, inf in kinds)
        return stats

    def log_statistics(self, stats: dict[str, Any], step: int | None = None, logger: Any = None) -> None:
        """As in `model.health.GradientHealthMonitor`. step: None means the number of checks so far.

        logger: also gets grad/<parameter>/<figure> of every parameter, where `enable_detailed_logging` is set.
        """
        step = self.step_counter if step is None else step
        super().log_statistics(stats, step)
        if logger is not None:
            layers = stats["layer_stats"] if self.enable_detailed_logging else {}
            figures = {f"grad/{name}/{key}": layer[key] for name, layer in layers.items() for key in LAYER_FIGURES}
            logger.log(as_metrics(stats) | figures, step=step)

    def apply_gradient_clipping(self, max_norm: float = 1.0) -> Tensor:  # type: ignore[override]  # the old default
        """Scales the gradients down to the global norm `max_norm`; returns the norm before. Raises ValueError for a
        negative `max_norm`.
        """
        return super().apply_gradient_clipping(max_norm)
