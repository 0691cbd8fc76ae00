"""Findings on views: said once in a while, and kept for the run's summary. No Lightning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from model.health.advice import Adviser
from model.health.views import Finding

log = logging.getLogger(__name__)


class ViewJournal:
    """Of one process of a run."""

    def __init__(self) -> None:
        self._adviser = Adviser()
        self.entries: list[dict[str, Any]] = []
        """For summary.json: kind, step of the first time, the views (pairs, lines) of that kind that are new then,
        their figures, the advice.
        """

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"entries": list(self.entries), "said": dict(self._adviser.said)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.entries, self._adviser.said = list(state_dict["entries"]), dict(state_dict["said"])

    def add(self, findings: Sequence[Finding], step: int) -> None:
        """At an optimizer step."""
        for advice in self._adviser.news([finding.advice() for finding in findings], step):
            log.warning("step %d: %s", step, advice)
        for finding in findings:
            known = {view for entry in self.entries if entry["kind"] == finding.kind for view in entry["views"]}
            new = Finding(finding.kind, {view: figure for view, figure in finding.figures.items() if view not in known})
            if new.figures:
                views, figures = list(new.figures), list(new.figures.values())
                self.entries.append(
                    {"kind": new.kind, "step": step, "views": views, "figures": figures, "text": str(new.advice())}
                )
