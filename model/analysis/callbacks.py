"""Lightning's side of analysis: what is measured at each validation, and what at the end of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import Tensor

from model.analysis.drift import drift_columns
from model.analysis.finish import write_analysis
from model.analysis.geometry import geometry, geometry_columns
from model.analysis.material import Material
from model.analysis.parts import Settings
from model.config.schema import RunConfig
from model.data.module import CaptionData
from model.views.towers import Towers

log = logging.getLogger(__name__)


class ValidationAnalysis(pl.Callback):
    """Adds geometry/* and drift/* to the row of a validation. The features of the last one are part of the checkpoint,
    so that a continued run says the same as one that was never cut.
    """

    def __init__(self, *, geometry: bool, drift: bool) -> None:
        self.geometry, self.drift = geometry, drift
        self.previous: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """The (n, N, D) features of the last validation."""
        return {"previous": self.previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.previous = state_dict["previous"]

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Before the row is written."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        views, names = module.validation_views, module.encoder.plan.names
        if self.geometry:
            module.record(geometry_columns(geometry(views, names)))
        if self.drift:
            module.record(drift_columns(views, self.previous, names))
            self.previous = views


def analyse(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: CaptionData,
    config: RunConfig,
    folder: Path,
    make_reference: Callable[[], tuple[Towers, str]],
) -> None:
    """Writes analysis.json, cka.npz and examples/ into `folder`, from `module` as it stands; the first process does it
    alone, the others need not wait. `make_reference`: the towers that cka compares with, and what they are.
    """
    if not config.evaluate or not trainer.is_global_zero:
        return
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy)):
        log.warning(
            "no analysis: each process holds a part of the weights only; evaluate a checkpoint with "
            "trainer.strategy=auto"
        )
        return
    device, plugin = trainer.strategy.root_device, trainer.precision_plugin
    module.to(device).eval()

    def place(batch: Any) -> Any:
        return plugin.convert_input(move_data_to_device(batch, device))

    def reference() -> tuple[Towers, str]:
        towers, what = make_reference()
        return towers.to(device, module.encoder.towers.token_embedding.dtype).eval(), what

    with torch.no_grad():
        limit = row_limit(trainer, data, config.analysis.samples)
        material = Material(module.encoder, data, place=place, context=plugin.forward_context, limit=limit)
        splits = tuple(dict.fromkeys(config.evaluate))
        write_analysis(material, Settings(config.analysis, splits, config.seed, module.loss.cpu(), reference, folder))


def row_limit(trainer: pl.Trainer, data: CaptionData, most: int | None) -> Callable[[str], int | None]:
    """How many rows of a split count: at most `most`, and what trainer.limit_test_batches leaves in all processes
    together; None: all.
    """
    limit, batch = trainer.limit_test_batches, data.val_batch_size * trainer.world_size

    def rows(split: str) -> int | None:
        if isinstance(limit, float) and limit == 1.0:
            return most
        batches = limit if isinstance(limit, int) else int(limit * -(-data.source.size(split) // batch))
        return batches * batch if most is None else min(most, batches * batch)

    return rows
