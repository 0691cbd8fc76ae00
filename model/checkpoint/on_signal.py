"""Lightning's side of signals: all processes stop training after the same optimizer step and write a checkpoint."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from model.checkpoint.callbacks import RandomState, RunCheckpoints
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
        """Has nothing to give back."""


class StopOnSignal(pl.Callback):
    """During training, keeps a signal until a checkpoint can be written from which training resumes exactly: after an
    optimizer step, or within a validation, which is then repeated. Then it raises Interrupted, in all processes.
    Several processes also keep a signal during a test loop.
    """

    def __init__(self, checkpoints: RunCheckpoints | None, random_state: RandomState) -> None:
        """checkpoints: what writes last.ckpt; None: a signal ends training without a checkpoint."""
        self.checkpoints, self.random_state = checkpoints, random_state
        self._step = 0
        self._within_window = False
        """Whether the last batch was no optimizer step: gradients that are being accumulated are in no checkpoint."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Signals are kept from here on."""
        received.waits = True

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The end of the epoch before has written last.ckpt."""
        if trainer.global_step:
            self._stop_if_asked(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Remembers how many steps there were."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Right after an optimizer step; where a validation or the end of the epoch follows, that is the better
        place.
        """
        followed = trainer.is_last_batch or (batch_idx + 1) % trainer.val_check_batch == 0
        self._within_window = trainer.global_step == self._step
        if not self._within_window and not followed and agreed(trainer):
            self._save(trainer)
            self._stop()

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The random state of this moment is the one that the validation starts with again."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.random_state.keep()
            self._stop_in_validation(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Nothing of the validation has been recorded yet."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_in_validation(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A run that is stopped between two epochs has no checkpoint of its last step yet."""
        if agreed(trainer):
            self._save(trainer)
            self._stop()
        received.waits = False

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """One process can be interrupted anywhere in the loop."""
        received.waits = several_processes()

    def on_test_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Every process has as many batches."""
        self._stop_if_asked(trainer)

    def on_test_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """What follows is the work of one process."""
        self._stop_if_asked(trainer)
        received.waits = False

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Training has ended."""
        received.waits = False

    def _stop_in_validation(self, trainer: pl.Trainer) -> None:
        if self._within_window or not agreed(trainer):
            return
        # What Lightning takes for a validation that was left within its first batch: it runs again when training is
        # resumed.
        progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        for tracker in (progress.total, progress.current):
            tracker.ready = tracker.started = 1
            tracker.processed = tracker.completed = 0
        with self.random_state.as_kept():
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
    """Whether any process has received a signal; then every process has. All processes must ask at the same place."""
    number = received.number or 0
    if several_processes():
        shared = torch.tensor(number, device=trainer.strategy.root_device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        number = int(shared)
    received.number = received.number or number or None
    return number != 0
