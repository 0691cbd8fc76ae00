"""Lightning's side of reporting: when a row of metrics is written, how long a step takes, what the progress bar shows."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from model.report.journal import Journal


class JournalCallback(pl.Callback):
    """Writes what the module has recorded, one row a step, into metrics.csv and to the run's other loggers."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)

    def state_dict(self) -> dict[str, int]:
        """How many rows there are, so that a continued run writes none twice."""
        return {"rows": self.journal.rows}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Drops the rows that came after the checkpoint."""
        self.journal.rewind(state_dict["rows"])

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The row of this optimizer step, if anything is due."""
        self._write(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The row of a validation."""
        self._write(trainer, module)

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = {key: float(value) for key, value in module.pending.items()}
        module.pending.clear()
        if not values or not trainer.is_global_zero or not trainer.state.fn == "fit":
            return
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self.journal.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **values})


class StepClock(pl.Callback):
    """Wall-clock time of training steps; the first ones, which warm up, are left out where there are enough."""

    WARM_UP = 5

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._started = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stops it."""
        self.durations.append(time.perf_counter() - self._started)

    def median(self, batches_per_step: int) -> float | None:
        """Seconds of an optimizer step; None where none was taken."""
        counted = self.durations[self.WARM_UP :] or self.durations
        return batches_per_step * statistics.median(counted) if counted else None


class ProgressBar(RichProgressBar):
    """Rich's, with the loss and recall; without the version number that a run here does not have."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics
