"""Lightning callbacks that record a run: rows of metrics.csv, the time of a step, the progress bar."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from torch import Tensor

from model.record.metrics_csv import STATE_KEY, MetricsFile


class RecordingModule(Protocol):
    """The part of `model.module.NWayClip` that MetricsCallback uses."""

    def take_recorded(self) -> dict[str, Tensor | float]:
        """Returns the figures that were recorded since the last call."""


class MetricsCallback(pl.Callback):
    """Writes what the module has recorded, one row a step, into metrics.csv and to the run's other loggers, which also
    get the configuration.
    """

    def __init__(self, path: Path, config: dict[str, Any] | None = None) -> None:
        self.file, self.config = MetricsFile(path), config or {}
        self._rows_of_checkpoint: int | None = None

    @property
    def state_key(self) -> str:
        """The key of this callback's state in a checkpoint."""
        return STATE_KEY

    def state_dict(self) -> dict[str, int]:
        """Returns the number of rows, so that a continued run writes no row twice."""
        return {"rows": self.file.rows}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Stores the number of rows at the time of the checkpoint."""
        self._rows_of_checkpoint = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Removes the rows that were written after the checkpoint."""
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config)
        if self._rows_of_checkpoint is not None and trainer.is_global_zero:
            self.file.rewind(self._rows_of_checkpoint)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes the row of this optimizer step, if there are pending figures."""
        self._write(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Writes the row of a validation."""
        self._write(trainer, module)

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        figures = cast(RecordingModule, module).take_recorded()  # Lightning types the hook with any module
        if not figures or trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        values = as_numbers(figures)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self.file.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **values})


def as_numbers(figures: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Returns every figure as a float. The tensors are copied from the device in one transfer."""
    tensors = {key: value.double().reshape(()) for key, value in figures.items() if isinstance(value, Tensor)}
    numbers = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True)) if tensors else {}
    return {key: float(numbers.get(key, value)) for key, value in figures.items()}


class StepClock(pl.Callback):
    """Measures the wall-clock time of training batches. The first ones, which are slower, do not count if there are
    others.
    """

    WARM_UP = 5
    """The number of first batches that do not count."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._started = 0.0
        self._earlier_median: float | None = None

    def state_dict(self) -> dict[str, float | None]:
        """Returns the median of this process, for a run that is continued after its last step."""
        return {"median": self.median(1)}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Stores the median of the process that wrote the checkpoint."""
        self._earlier_median = state_dict["median"]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops the clock."""
        self.durations.append(time.perf_counter() - self._started)

    def median(self, batches_per_step: int) -> float | None:
        """Returns the median time of an optimizer step in seconds. If this process has made no step, it is the median
        before the run was continued.
        """
        counted = self.durations[self.WARM_UP :] or self.durations
        batch = statistics.median(counted) if counted else self._earlier_median
        return None if batch is None else batches_per_step * batch


class ProgressBar(RichProgressBar):
    """Rich's progress bar without the version number, which runs of this project do not have."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Returns the figures to show beside the bar."""
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}
