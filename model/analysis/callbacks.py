"""Lightning's side of the analysis: what is measured at each validation, and what at the end of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import Tensor

from model.analysis.analysis_json import write_analysis
from model.analysis.geometry import drift_columns, geometry, geometry_columns
from model.analysis.parts import AnalysedRun, AnalysisSettings
from model.analysis.retrieval import MatchCounts
from model.analysis.split_features import SplitFeatures
from model.data.module import CaptionData
from model.losses.objective.loss import ContrastiveLoss
from model.side_process import SideProcess
from model.views.encoder import ViewEncoder
from model.views.towers import Towers

log = logging.getLogger(__name__)


class ValidatedModule(Protocol):
    """The part of `model.module.NWayClip` that ValidationAnalysis uses."""

    encoder: ViewEncoder
    validation_views: Tensor | None
    """(n, N, D): the views of the last validation."""

    def record(self, values: dict[str, float]) -> None:
        """Adds figures to this step's row of metrics.csv."""


class ValidationAnalysis(pl.Callback):
    """Adds geometry/* and drift/* to the row of a validation in metrics.csv. A checkpoint holds the views of the last
    validation, so that a resumed run records the same figures as one that was never interrupted.
    """

    def __init__(self, *, geometry: bool, drift: bool) -> None:
        self.geometry, self.drift = geometry, drift
        self.previous: Tensor | None = None
        """(n, N, D): the views of the last validation."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the views of the last validation."""
        return {"previous": self.previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the result of `state_dict`."""
        self.previous = state_dict["previous"]

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Records the figures before the row is written."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        validated = cast(ValidatedModule, module)  # Lightning's hook has the type of any module
        views, names = validated.validation_views, validated.encoder.plan.names
        assert views is not None
        if self.geometry:
            validated.record(geometry_columns(geometry(views, names)))
        if self.drift:
            validated.record(drift_columns(views, self.previous, names))
            self.previous = views


def analyse(
    trainer: pl.Trainer,
    encoder: ViewEncoder,
    loss: ContrastiveLoss,
    data: CaptionData,
    settings: AnalysisSettings,
    make_reference: Callable[[], tuple[Towers, str]],
    known_views: Mapping[str, Tensor],
    known_ranks: Mapping[str, Sequence[MatchCounts]],
    side: SideProcess,
) -> None:
    """Writes analysis.json, cka.npz and examples/ with the current weights. Only the first process does so, and the
    others do not wait.

    make_reference: builds the towers that cka compares with, and returns them with a description; known_views,
    known_ranks: see `SplitFeatures`; side: fits the probes.
    """
    if not settings.splits or not trainer.is_global_zero or not holds_all_weights(trainer):
        return
    device, plugin = trainer.strategy.root_device, trainer.precision_plugin
    encoder.to(device).eval()

    def to_device(batch: Any) -> Any:
        return plugin.convert_input(move_data_to_device(batch, device))

    def reference() -> tuple[Towers, str]:
        towers, description = make_reference()
        return towers.to(device, encoder.towers.token_embedding.dtype).eval(), description

    with torch.no_grad():
        features = SplitFeatures(
            encoder,
            data,
            to_device=to_device,
            precision=plugin.forward_context,
            row_limit=row_limit(trainer, data, settings.samples),
            known_views=known_views,
            known_ranks=known_ranks,
        )
        write_analysis(AnalysedRun(features, loss.cpu().eval(), reference, settings, side))


def holds_all_weights(trainer: pl.Trainer) -> bool:
    """Returns whether this process holds all weights; logs that there is no analysis if it does not."""
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy)):
        log.warning(
            "no analysis: each process holds only a part of the weights; evaluate a checkpoint with "
            "trainer.strategy=auto"
        )
        return False
    return True


def row_limit(trainer: pl.Trainer, data: CaptionData, most: int | None) -> Callable[[str], int | None]:
    """Returns a function: split -> the number of its first rows that are read (None: all). It is at most `most`, and at
    most the number of rows that trainer.limit_test_batches allows to all processes together.
    """
    limit, batch = trainer.limit_test_batches, data.val_batch_size * trainer.world_size

    def rows(split: str) -> int | None:
        if isinstance(limit, float) and limit == 1.0:
            return most
        batches = limit if isinstance(limit, int) else int(limit * -(-data.source.size(split) // batch))
        return batches * batch if most is None else min(most, batches * batch)

    return rows
