"""Lightning's side of what is found in views: hooks that look at the views of the first batch and of every
validation.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from model.health.glimpse import Glimpse
from model.health.view_journal import ViewJournal
from model.health.views import (
    ALIKE,
    EQUAL,
    FIRST_STEPS,
    LINE_BATCH,
    LINE_ROWS,
    SAME,
    Finding,
    Seen,
    blind_views,
    collapsed_views,
    equal_views,
    lines_at_chance,
)
from model.losses.objective.loss import TupleLoss


class ViewHealthCallback(pl.Callback):
    """Looks at the views of the run's first batch and of every validation. The first process looks at rows of its own
    and asks no other.
    """

    def __init__(self) -> None:
        self.journal = ViewJournal()
        self._begun = False
        self._glimpse = Glimpse()

    @property
    def advice(self) -> list[dict[str, Any]]:
        """What was found in the whole run, for summary.json."""
        return self.journal.entries

    def state_dict(self) -> dict[str, Any]:
        """Plain data: what was found and said, and that the first batch is past."""
        return {"begun": self._begun, "journal": self.journal.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._begun = state_dict["begun"]
        self.journal.load_state_dict(state_dict["journal"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that goes on has had its first batch, also by a checkpoint without the state of this callback."""
        self._begun = self._begun or trainer.global_step > 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The first batch of the run is watched."""
        if not self._begun and trainer.is_global_zero:
            self._glimpse.watch(pl_module.encoder)
        self._begun = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Findings on the first batch, before any weight has moved."""
        if self._glimpse.watching and (seen := self._glimpse.take()):
            names = pl_module.encoder.plan.names
            self.journal.add(
                [*blind_views(seen, names, pl_module.encoder.tokens.end), *equal_views(seen, names)], step=1
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Its first rows are watched."""
        if trainer.is_global_zero and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._glimpse.watch(pl_module.encoder)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Findings on a validation."""
        if self._glimpse.watching and (seen := self._glimpse.take()):
            self.journal.add(validation_findings(pl_module, seen, trainer.global_step), trainer.global_step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leaves no hooks behind."""
        self._glimpse.forget()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Nor where training ended within a step: Lightning calls no teardown then."""
        self._glimpse.forget()


@torch.no_grad()
def validation_findings(module: pl.LightningModule, seen: Seen, step: int) -> list[Finding]:
    """Findings on views of a validation, after `step` optimizer steps; on the lines of the loss once these were enough
    to learn something.
    """
    names = module.encoder.plan.names
    early = step < FIRST_STEPS
    findings = [
        *collapsed_views(seen.views, names, SAME if early else ALIKE),
        *equal_views(seen, names, SAME if early else EQUAL),
    ]
    rows = min(seen.views.shape[1], LINE_ROWS)
    size = min(module.batch_size, rows, LINE_BATCH)
    if early or size < 2:
        return findings
    batches = seen.views[:, : rows // size * size].to(module.device).split(size, dim=1)
    lines = [module.loss.lines(batch).cpu() for batch in batches]
    directions = (
        names if isinstance(module.loss, TupleLoss) else [f"direction {number + 1}" for number in range(len(lines[0]))]
    )
    return [*findings, *lines_at_chance(lines, directions)]
