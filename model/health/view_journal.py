"""Logs findings about views, and keeps them for the run's summary. No Lightning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from model.health.advice import AdviceFilter
from model.health.views import Finding

log = logging.getLogger(__name__)


class ViewJournal:
    """The findings of one run."""

    def __init__(self) -> None:
        self._advice_filter = AdviceFilter()
        self.entries: list[dict[str, Any]] = []
        """For summary.json, one entry for each kind and step with new views (pairs, lines): the kind, the step, the new
        views, their figures, and the advice as text.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns plain data; `said` is the key of the last steps of advice in checkpoints."""
        return {"entries": list(self.entries), "said": dict(self._advice_filter.last_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.entries = list(state_dict["entries"])
        self._advice_filter.last_steps = dict(state_dict["said"])

    def add(self, findings: Sequence[Finding], step: int) -> None:
        """Logs the advice on the findings of optimizer step `step`, and keeps the views that are new for their kind."""
        for advice in self._advice_filter.select([finding.advice() for finding in findings], step):
            log.warning("step %d: %s", step, advice)
        for finding in findings:
            known = {view for entry in self.entries if entry["kind"] == finding.kind for view in entry["views"]}
            figures = {view: figure for view, figure in finding.figures.items() if view not in known}
            if figures:
                self.entries.append(
                    {
                        "kind": finding.kind,
                        "step": step,
                        "views": list(figures),
                        "figures": list(figures.values()),
                        "text": str(Finding(finding.kind, figures).advice()),
                    }
                )
