"""Records a step: a row of metrics, a line of health.jsonl, and new advice in the log. No Lightning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.health.activations import ActivationMonitor
from model.health.advice import AdviceFilter
from model.health.examine import GradientReport
from model.health.groups import MetricRecorder, ViewModule, group_norms, layer_names, tower_names
from model.health.limits import HealthSettings
from model.health.metrics import activation_metrics, gradient_metrics, history_row, norm_metrics
from model.health.policy import Action, Counts
from model.health.reading import Reading
from model.health.signals import SpikeDetector, activation_advice, step_advice
from model.record.health_jsonl import FILE, History

log = logging.getLogger(__name__)


class HealthJournal:
    """The records of one process of a run. Only the first process writes health.jsonl and logs advice."""

    def __init__(self, module: nn.Module, settings: HealthSettings, run_dir: Path | None, is_first: bool) -> None:
        """run_dir: the folder of health.jsonl; None: do not write it. is_first: whether this is the first process."""
        self.module, self.settings, self.is_first = module, settings, is_first
        self.history = History(run_dir / FILE) if run_dir is not None else None
        if run_dir is not None and is_first:
            run_dir.mkdir(parents=True, exist_ok=True)
        self._advice_filter, self._spikes = AdviceFilter(), SpikeDetector()
        self._towers = tower_names(module)
        self._layers = layer_names(name for name, _ in module.named_parameters())
        self._activations = ActivationMonitor(module) if settings.activations else None

    @property
    def rows(self) -> int:
        """The number of lines of health.jsonl that this process has written or kept."""
        return self.history.rows if self.history else 0

    def rewind(self, rows: int) -> None:
        """Keeps only the first `rows` lines of health.jsonl, those that the checkpoint of a resumed run knows."""
        if self.history and self.is_first:
            self.history.rewind(rows)

    def watch_activations(self) -> None:
        """Starts to measure activations, where the settings ask for it. Call it before a forward pass."""
        if self._activations:
            self._activations.register_hooks()

    def unwatch_activations(self) -> None:
        """Removes all hooks from the module, and discards the measured activations."""
        if self._activations:
            self._activations.remove_hooks()
            self._activations.clear()

    def step(
        self, step: int, reading: Reading, action: Action, counts: Counts, more: dict[str, Tensor | float]
    ) -> None:
        """Records the optimizer step `step`, counted from 1. more: metrics that do not follow from `reading`."""
        statistics = self._activations.get_statistics() if self._activations else {}
        recommendations = self._spikes.advice(reading.loss)
        if reading.report is not None:
            layers = group_norms(self._layers, reading.report.norms)
            self._record_metrics(reading.report, action, counts, layers, statistics, more)
            if self.history and self.is_first:
                row = history_row(step, reading.report, layers, action, counts, self.settings, statistics)
                self.history.append(row)
            if action is not Action.BACK_OFF:
                # By layer, not by parameter: the bias of an attention key never has an effect, and so no gradient.
                recommendations += step_advice(self.module, reading.report, layers, self.settings)
                recommendations += activation_advice(statistics)
        for advice in self._advice_filter.select(recommendations, step) if self.is_first else ():
            log.warning("step %d: %s", step, advice)

    def _record_metrics(
        self,
        report: GradientReport,
        action: Action,
        counts: Counts,
        layers: dict[str, float],
        statistics: dict[str, dict[str, Any]],
        more: dict[str, Tensor | float],
    ) -> None:
        """Gives the module a row of metrics, if it accepts one."""
        if not isinstance(self.module, MetricRecorder):
            return
        views = self.module.view_gradients() if isinstance(self.module, ViewModule) else {}
        self.module.record(
            gradient_metrics(report, action, counts)
            | norm_metrics("grad_tower", group_norms(self._towers, report.norms))
            | norm_metrics("grad_view", views)
            | (norm_metrics("grad_layer", layers) if self.settings.per_layer else {})
            | more
            | activation_metrics(statistics, self.settings.per_layer)
        )
