"""Lightning's side of reporting: when a row of metrics is written, how long a step takes, what the progress bar
shows.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from torch import Tensor

from model.record.metrics_csv import Journal


class RecordingModule(Protocol):
    """The part of `model.module.NWayClip` that JournalCallback uses."""

    def take_recorded(self) -> dict[str, Tensor | float]:
        """Returns the figures that were recorded since the last call."""


class JournalCallback(pl.Callback):
    """Writes what the module has recorded, one row a step, into metrics.csv and to the run's other loggers, which also
    get the configuration.
    """

    def __init__(self, path: Path, config: dict[str, Any] | None = None) -> None:
        self.journal, self.config = Journal(path), config or {}
        self._known_rows: int | None = None

    def state_dict(self) -> dict[str, int]:
        """How many rows there are, so that a continued run writes none twice."""
        return {"rows": self.journal.rows}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Remembers how many rows the checkpoint knows of."""
        self._known_rows = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Drops the rows that came after the checkpoint."""
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config)
        if self._known_rows is not None and trainer.is_global_zero:
            self.journal.rewind(self._known_rows)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The row of this optimizer step, if anything is due."""
        self._write(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The row of a validation."""
        self._write(trainer, module)

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        recorded = cast(RecordingModule, module).take_recorded()  # Lightning types the hook with any module
        if not recorded or trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        values = as_numbers(recorded)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self.journal.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **values})


def as_numbers(recorded: dict[str, Tensor | float]) -> dict[str, float]:
    """Every figure as a float, those on a device with one transfer."""
    tensors = [key for key, value in recorded.items() if isinstance(value, Tensor)]
    fetched = (
        dict(zip(tensors, torch.stack([recorded[key].double().reshape(()) for key in tensors]).tolist(), strict=True))
        if tensors
        else {}
    )
    return {key: float(fetched.get(key, value)) for key, value in recorded.items()}


class StepClock(pl.Callback):
    """Wall-clock time of training steps; the first ones, which warm up, are left out where there are enough."""

    WARM_UP = 5

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._started = 0.0
        self._before: float | None = None

    def state_dict(self) -> dict[str, float | None]:
        """For a run that is continued after its last step."""
        return {"median": self.median(1)}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """What `state_dict` gave."""
        self._before = state_dict["median"]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops it."""
        self.durations.append(time.perf_counter() - self._started)

    def median(self, batches_per_step: int) -> float | None:
        """Seconds of an optimizer step: in this process, or before the run was continued where this process has made
        none.
        """
        counted = self.durations[self.WARM_UP :] or self.durations
        batch = statistics.median(counted) if counted else self._before
        return None if batch is None else batches_per_step * batch


class ProgressBar(RichProgressBar):
    """Rich's, with the loss and recall; without the version number that a run here does not have."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics
