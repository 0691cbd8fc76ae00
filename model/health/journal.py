"""What a step leaves behind: a row of metrics, a line of the history, and advice that is news. No Lightning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.health.activations import ActivationMonitor
from model.health.advice import Adviser, Recommendation, recommend
from model.health.groups import Recorder, Viewed, group_norms, layer_names, tower_names
from model.health.limits import HealthSettings
from model.health.metrics import activation_metrics, gradient_metrics, history_row, norm_metrics
from model.health.policy import Action, Counts
from model.health.reading import Reading
from model.health.signals import activation_advice, step_advice
from model.health.spikes import SpikeDetector
from model.record.health_jsonl import FILE, History

log = logging.getLogger(__name__)


class HealthJournal:
    """Writes for one process of a run; files and advice are the first process's."""

    def __init__(self, settings: HealthSettings, run_dir: Path | None) -> None:
        """run_dir: where health.jsonl is written; None: nowhere."""
        self.settings = settings
        self.history = History(run_dir / FILE) if run_dir is not None else None
        self._adviser, self._spikes = Adviser(), SpikeDetector()
        self._activations: ActivationMonitor | None = None
        self.first = True
        self._towers: dict[str, list[str]] = {}
        self._layers: dict[str, list[str]] = {}

    def open(self, module: nn.Module, first: bool, known_rows: int | None) -> None:
        """Before the first step. first: whether this is the first process; known_rows: of the history, by the
        checkpoint that is continued.
        """
        self.first = first
        if self.history and first:
            self.history.path.parent.mkdir(parents=True, exist_ok=True)
            if known_rows is not None:
                self.history.rewind(known_rows)
        self._towers = tower_names(module)
        self._layers = layer_names(name for name, _ in module.named_parameters())
        self._activations = ActivationMonitor(module) if self.settings.activations else None

    def watch(self, due: bool) -> None:
        """Before a batch of a step: watches the activations if a row is due."""
        if self._activations and due:
            self._activations.register_hooks()

    def unwatch(self) -> None:
        """After a step, and at the end: leaves no hooks behind."""
        if self._activations:
            self._activations.remove_hooks()
            self._activations.clear()

    def step(
        self, module: nn.Module, step: int, reading: Reading, action: Action, counts: Counts, more: dict[str, Any]
    ) -> None:
        """One step (counted from 1). more: figures of the row that `reading` does not have."""
        statistics = self._activations.get_statistics() if self._activations else {}
        recommendations = self._loss_advice(reading.loss)
        if reading.report is not None:
            layers = group_norms(self._layers, reading.report.norms)
            if isinstance(module, Recorder):
                module.record(
                    self._row(module, reading, action, counts, layers)
                    | more
                    | activation_metrics(statistics, self.settings.per_layer)
                )
            if self.history and self.first:
                self.history.append(
                    history_row(step, reading.report, layers, action, counts, self.settings, statistics)
                )
            if action is not Action.BACK_OFF:
                # By layer: the bias of an attention key has no effect, and so no gradient, in any transformer.
                recommendations += step_advice(module, reading.report, layers, self.settings) + activation_advice(
                    statistics
                )
        for advice in self._adviser.news(recommendations, step) if self.first else ():
            log.warning("step %d: %s", step, advice)

    def _row(
        self, module: nn.Module, reading: Reading, action: Action, counts: Counts, layers: dict[str, float]
    ) -> dict[str, Tensor | float]:
        """The grad* figures of a row."""
        views = module.view_gradients() if isinstance(module, Viewed) else {}
        towers = group_norms(self._towers, reading.report.norms)
        by_layer = norm_metrics("grad_layer", layers) if self.settings.per_layer else {}
        return (
            gradient_metrics(reading.report, action, counts)
            | norm_metrics("grad_tower", towers)
            | norm_metrics("grad_view", views)
            | by_layer
        )

    def _loss_advice(self, loss: float) -> list[Recommendation]:
        """Advice where the loss jumps."""
        mean = self._spikes.mean
        return [recommend("loss_spike", loss=loss, mean=mean)] if self._spikes.spikes(loss) else []
