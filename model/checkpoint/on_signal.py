"""Stops training after a signal: all processes stop after the same optimizer step, and a checkpoint is written."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.loops.progress import _ProcessedTracker

from model.checkpoint.callbacks import RandomState, RunCheckpoints, validation_follows
from model.distributed import several_processes
from model.interruption import received


class NoSignals:
    """Replaces Lightning's own signal handling. Lightning's SIGTERM handler calls a collective, which hangs while other
    processes compute a step. Its Slurm handler writes a checkpoint that its test loop then loads instead of the given
    weights.
    """

    received_sigterm = False

    def register_signal_handlers(self) -> None:
        """Leaves the handlers as they are."""

    def teardown(self) -> None:
        """Does nothing, because no handler was installed."""


class StopOnSignal(pl.Callback):
    """Holds a signal during training until a checkpoint can be written from which training resumes exactly: after an
    optimizer step, or within a validation, which is then repeated. Then raises Interrupted in all processes. A run of
    several processes also holds a signal during a test loop.
    """

    def __init__(self, checkpoints: RunCheckpoints | None, random_state: RandomState) -> None:
        """checkpoints: the callback that writes last.ckpt; with None, a signal ends training without a checkpoint."""
        self.checkpoints, self.random_state = checkpoints, random_state
        self._step = 0
        self._within_window = False
        """Whether the last batch ended without an optimizer step. A checkpoint does not contain accumulated gradients.
        """

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Starts to hold signals."""
        received.waits = True

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stops if a signal was received. The previous epoch has already written last.ckpt at its end."""
        if trainer.global_step:
            self._stop_if_asked(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Stores the number of optimizer steps before this batch."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops after an optimizer step if a signal was received. If a validation or the end of the epoch follows, the
        run stops there.
        """
        self._within_window = trainer.global_step == self._step
        if not self._within_window and not validation_follows(trainer, batch_idx) and agreed(trainer):
            self._save(trainer)
            self._stop()

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stores the random state with which a repeated validation starts, and stops if a signal was received."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.random_state.keep()
            self._stop_in_validation(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Stops if a signal was received. Nothing of the validation is recorded before its end."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_in_validation(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Writes last.ckpt and stops if a signal was received: a run that is stopped between two epochs has no
        checkpoint of its last step yet.
        """
        if agreed(trainer):
            self._save(trainer)
            self._stop()
        received.waits = False

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Starts to hold signals if there are several processes. A single process can stop anywhere in the test
        loop.
        """
        received.waits = several_processes()

    def on_test_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Stops if a signal was received. All processes have the same number of batches."""
        self._stop_if_asked(trainer)

    def on_test_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stops if a signal was received, and holds no further signals: only one process works after the test loop."""
        self._stop_if_asked(trainer)
        received.waits = False

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Holds no further signals, because training has ended."""
        received.waits = False

    def _stop_in_validation(self, trainer: pl.Trainer) -> None:
        if self._within_window or not agreed(trainer):
            return
        # With these counts Lightning repeats the validation when training resumes: they say that it was left within its
        # first batch.
        progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        for tracker in (progress.total, progress.current):
            assert isinstance(tracker, _ProcessedTracker)  # the type that Lightning gives the progress of batches
            tracker.ready = tracker.started = 1
            tracker.processed = tracker.completed = 0
        with self.random_state.saving_stored():
            self._save(trainer)
        self._stop()

    def _save(self, trainer: pl.Trainer) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save_last(trainer)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        if agreed(trainer):
            self._stop()

    def _stop(self) -> None:
        received.waits = False
        received.raise_if_received()


def agreed(trainer: pl.Trainer) -> bool:
    """Whether any process has received a signal; copies the signal's number to all processes. All processes must call
    this at the same place.
    """
    number = received.number or 0
    if several_processes():
        highest = torch.tensor(number, device=trainer.strategy.root_device)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        number = int(highest)
    received.number = received.number or number or None
    return number != 0
