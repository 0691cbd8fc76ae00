"""Lightning callbacks and plugins for checkpoints: when they are written, how a file is replaced, and the random state
that they contain.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from model.checkpoint.files import BEST, LAST, PREVIOUS, checkpoint_path
from model.checkpoint.healing import best_is_undamaged
from model.checkpoint.random_state import random_state, restore_random_state
from model.config.best import Best
from model.config.identity import run_hash
from model.distributed import several_processes
from model.record.disk import NotWritten, writing
from model.record.files import replacing
from model.record.folder import can_resume

log = logging.getLogger(__name__)


class WholeFileIO(TorchCheckpointIO):
    """Writes checkpoints so that a kill leaves either the old file or the new file complete."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replaces `path`. A replaced last.ckpt is kept as previous.ckpt. Raises NotWritten."""
        target = Path(path)
        previous = target.with_stem(PREVIOUS) if target.stem == LAST else None
        with writing(target, lambda: saved_size(checkpoint)):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, previous) as file:
                torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Loads with weights_only=True whatever the argument says: a checkpoint is data, not code."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class ByteCounter(io.BytesIO):
    """A file that discards its content and counts the bytes."""

    size = 0

    def write(self, data: Any) -> int:
        """Adds the number of bytes to `size`."""
        self.size += len(data)
        return len(data)


def saved_size(checkpoint: dict[str, Any]) -> int:
    """Returns the number of bytes of the checkpoint's file."""
    counter = ByteCounter()
    torch.save(checkpoint, counter)
    return counter.size


class RunCheckpoints(Checkpoint):
    """Writes last.ckpt after every `every_n_steps` steps and after every epoch, and best.ckpt after a validation with a
    better figure than all before. On a tie the earlier one stays.
    """

    def __init__(self, folder: Path, every_n_steps: int, config: dict[str, Any], chosen_by: Best) -> None:
        """config: the run's configuration as nested dictionaries. chosen_by: the figure that chooses best.ckpt."""
        self.folder, self.every_n_steps, self.config, self.chosen_by = folder, every_n_steps, config, chosen_by
        self.config_hash = run_hash(config)
        self.best: float | None = None
        self.validation: dict[str, float] = {}
        self.saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns plain numbers and texts, which weights_only=True can load."""
        return {
            "best": self.best,
            "best_metric": self.chosen_by.metric,
            "validation": self.validation,
            "config_hash": self.config_hash,
            "config": self.config,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state. Earlier versions stored no configuration; then the warning cannot name the changed
        settings.
        """
        self.best, self.validation = state_dict["best"], state_dict.get("validation", {})
        if "config" not in state_dict and state_dict["config_hash"] != self.config_hash:
            log.warning(
                "the checkpoint was written with another configuration (its hash is %s, the hash of this run is %s)",
                state_dict["config_hash"],
                self.config_hash,
            )

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Discards the best score if its weights are not in this folder, so that the next validation writes
        best.ckpt.
        """
        if trainer.strategy.broadcast(trainer.is_global_zero and self._best_is_lost(trainer)):
            self.best = None

    def _best_is_lost(self, trainer: pl.Trainer) -> bool:
        if self.best is None:
            return False
        start = trainer.ckpt_path
        if start is not None and Path(start).parent != checkpoint_path(self.folder, BEST).parent:
            return True
        instead = f"its {self.chosen_by.metric} of {self.best:.6g} is discarded"
        return not best_is_undamaged(self.folder, self.best, instead)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes last.ckpt after an optimizer step, but not within an accumulation window. If a validation or the end
        of the epoch follows, last.ckpt is written at the end of the epoch.
        """
        step = trainer.global_step
        if step != self.saved_step and step % self.every_n_steps == 0 and not validation_follows(trainer, batch_idx):
            self._save(trainer, LAST)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stores the figures, and writes best.ckpt if the figure that chooses it is the best so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.validation = {
            key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")
        }
        score = self.validation.get(self.chosen_by.metric)
        if score is not None and self.chosen_by.improves(score, self.best):
            self.best = score
            self._save(trainer, BEST)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Writes last.ckpt after the validation and after the schedule has read the loss of the epoch."""
        self._save(trainer, LAST)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Writes last.ckpt at the end of a run that stops between two epochs."""
        self.save_last(trainer)

    def save_last(self, trainer: pl.Trainer) -> None:
        """Writes last.ckpt, unless it was written at this step."""
        if trainer.global_step != self.saved_step:
            self._save(trainer, LAST)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if name == LAST:
            self.saved_step = trainer.global_step
        try:
            trainer.save_checkpoint(checkpoint_path(self.folder, name))
        except NotWritten:
            # best.ckpt alone would make the folder look used, so that the run could not be started again.
            if not can_resume(self.folder):
                checkpoint_path(self.folder, BEST).unlink(missing_ok=True)
            raise


def validation_follows(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a validation or the end of the epoch follows this training batch."""
    assert trainer.val_check_batch is not None  # Lightning sets it before the first batch
    return trainer.is_last_batch or (batch_idx + 1) % trainer.val_check_batch == 0


class RandomState(pl.Callback):
    """Saves the random state of every process in the checkpoint, and restores it before the first batch of a continued
    run.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.initial_seed = seed, seed
        self.restored: list[dict[str, Any]] = []
        self._rank = 0
        self._stored: dict[str, Any] | None = None
        self._saves_stored = False

    def keep(self) -> None:
        """Stores the current random state of this process. In a continued run, first restores the state of the
        checkpoint.
        """
        self._restore_once()
        self._stored = random_state()

    @contextmanager
    def saving_stored(self) -> Iterator[None]:
        """Within the block, checkpoints are saved with the state that `keep` has stored, not with the current state."""
        self._saves_stored = True
        try:
            yield
        finally:
            self._saves_stored = False

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Gives each process another seed. Before this, all processes had drawn the same weights."""
        self._rank = trainer.global_rank
        torch.manual_seed(self.seed * trainer.world_size + trainer.global_rank)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves one state for each process. Every process must call this."""
        own = self._stored if self._saves_stored else random_state()
        states: list[Any] = [own]
        if several_processes():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, own)
        checkpoint["random_states"] = states
        checkpoint["initial_seed"] = self.initial_seed

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Stores the states of the checkpoint. They are restored before the first batch, because Lightning draws random
        numbers until then.
        """
        self.restored = checkpoint.get("random_states", [])
        self.initial_seed = checkpoint.get("initial_seed", self.initial_seed)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores the random state before the first batch."""
        self._restore_once()

    def _restore_once(self) -> None:
        if self._rank < len(self.restored):
            restore_random_state(self.restored[self._rank])
        self.restored = []
