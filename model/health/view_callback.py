"""Connects the search for bad views to a Lightning Trainer: examines the first batch and every validation."""

from __future__ import annotations

from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch

from model.health.view_journal import ViewJournal
from model.health.view_recorder import ViewRecorder
from model.health.views import (
    ALIKE_COSINE,
    EQUAL_COSINE,
    FIRST_STEPS,
    IDENTICAL_COSINE,
    LINE_BATCH,
    LINE_ROWS,
    Finding,
    ViewSample,
    blind_views,
    collapsed_views,
    equal_views,
    lines_at_chance,
)
from model.losses.objective.loss import ContrastiveLoss, TupleLoss
from model.views.encoder import ViewEncoder


class ContrastiveModule(Protocol):
    """The parts of a LightningModule that the callback reads."""

    encoder: ViewEncoder
    loss: ContrastiveLoss
    batch_size: int
    device: torch.device


class ViewHealthCallback(pl.Callback):
    """Examines the views of the run's first batch and of every validation. Only the first process does so, on its own
    rows.
    """

    def __init__(self) -> None:
        self.journal = ViewJournal()
        self._begun = False
        self._recorder = ViewRecorder()

    @property
    def advice(self) -> list[dict[str, Any]]:
        """The findings of the whole run, for summary.json."""
        return self.journal.entries

    def state_dict(self) -> dict[str, Any]:
        """Returns plain data: the findings, and whether the run has had its first batch."""
        return {"begun": self._begun, "journal": self.journal.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._begun = state_dict["begun"]
        self.journal.load_state_dict(state_dict["journal"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that a resumed run has had its first batch, also where the checkpoint has no state of this callback."""
        self._begun = self._begun or trainer.global_step > 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Records the first batch of the run."""
        if not self._begun and trainer.is_global_zero:
            self._recorder.start(contrastive(pl_module).encoder)
        self._begun = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Examines the first batch, whose views were computed with the initial weights."""
        if self._recorder.recording and (sample := self._recorder.finish()):
            encoder = contrastive(pl_module).encoder
            names = encoder.plan.names
            self.journal.add([*blind_views(sample, names, encoder.tokens.end), *equal_views(sample, names)], step=1)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Records the first rows of a validation."""
        if trainer.is_global_zero and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._recorder.start(contrastive(pl_module).encoder)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Examines the first rows of a validation."""
        if self._recorder.recording and (sample := self._recorder.finish()):
            findings = validation_findings(contrastive(pl_module), sample, trainer.global_step)
            self.journal.add(findings, trainer.global_step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes all hooks from the module."""
        self._recorder.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes all hooks where training ends within a step. Lightning does not call `teardown` then."""
        self._recorder.stop()


def contrastive(module: pl.LightningModule) -> ContrastiveModule:
    """Returns the module with the type of the parts that this callback reads."""
    return cast(ContrastiveModule, module)


@torch.no_grad()
def validation_findings(module: ContrastiveModule, sample: ViewSample, step: int) -> list[Finding]:
    """Returns the findings about the views of a validation after `step` optimizer steps. Examines the lines of the loss
    only after enough steps to have learned something.
    """
    names = module.encoder.plan.names
    early = step < FIRST_STEPS
    findings = [
        *collapsed_views(sample.views, names, IDENTICAL_COSINE if early else ALIKE_COSINE),
        *equal_views(sample, names, IDENTICAL_COSINE if early else EQUAL_COSINE),
    ]
    rows = min(sample.views.shape[1], LINE_ROWS)
    size = min(module.batch_size, rows, LINE_BATCH)
    if early or size < 2:
        return findings
    batches = sample.views[:, : rows // size * size].to(module.device).split(size, dim=1)
    lines = [module.loss.lines(batch).cpu() for batch in batches]
    return [*findings, *lines_at_chance(lines, line_names(module.loss, names, len(lines[0])))]


def line_names(loss: ContrastiveLoss, views: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Returns the names of the loss's lines: the views that vary, or the numbers of the directions of a matrix loss."""
    return views if isinstance(loss, TupleLoss) else tuple(f"direction {number + 1}" for number in range(count))
