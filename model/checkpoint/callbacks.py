"""Lightning's side of checkpoints: when they are written, how a file is replaced, and the random state they carry."""

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
from model.checkpoint.healing import best_is_whole
from model.checkpoint.random_state import random_state, restore_random_state
from model.config.identity import run_hash
from model.distributed import several_processes
from model.record.disk import NotWritten, writing
from model.record.files import replacing
from model.record.folder import can_resume

log = logging.getLogger(__name__)


class WholeFileIO(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk and renames: a kill leaves the old checkpoint or the new one
    whole.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replaces `path`; the last.ckpt that it replaces stays as previous.ckpt. Raises NotWritten."""
        target = Path(path)
        previous = target.with_stem(PREVIOUS) if target.stem == LAST else None
        with writing(target, lambda: saved_size(checkpoint)):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, previous) as file:
                torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Always with weights_only=True: a checkpoint is data, not code."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class Counter(io.RawIOBase):
    """A file that keeps nothing but the number of its bytes."""

    size = 0

    def write(self, data: Any) -> int:
        """Counts."""
        self.size += len(data)
        return len(data)


def saved_size(checkpoint: dict[str, Any]) -> int:
    """Bytes of its file."""
    counter = Counter()
    torch.save(checkpoint, counter)
    return counter.size


class RunCheckpoints(Checkpoint):
    """last.ckpt every so many steps and after every epoch, best.ckpt whenever the objective is higher than ever (the
    earlier one on a tie).
    """

    def __init__(self, folder: Path, every_n_steps: int, config: dict[str, Any], objective: str) -> None:
        """config: the run's, nested dictionaries; objective: the figure of a validation that best.ckpt is chosen by,
        `val/<figure>`.
        """
        self.folder, self.every_n_steps, self.config, self.objective = folder, every_n_steps, config, objective
        self.config_hash = run_hash(config)
        self.best: float | None = None
        self.validation: dict[str, float] = {}
        self.saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return {
            "best": self.best,
            "validation": self.validation,
            "config_hash": self.config_hash,
            "config": self.config,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave. Earlier versions kept no configuration, so that the changed settings cannot be
        named.
        """
        self.best, self.validation = state_dict["best"], state_dict.get("validation", {})
        if "config" not in state_dict and state_dict["config_hash"] != self.config_hash:
            log.warning(
                "the checkpoint was made with another configuration (hash %s, now %s)",
                state_dict["config_hash"],
                self.config_hash,
            )

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A best score whose weights are not in this folder is forgotten, so that the next validation keeps its
        weights.
        """
        known = self.best is not None and trainer.is_global_zero
        goes_on_elsewhere = (
            trainer.ckpt_path is not None
            and Path(trainer.ckpt_path).parent != checkpoint_path(self.folder, BEST).parent
        )
        lost = known and (
            goes_on_elsewhere
            or not best_is_whole(self.folder, self.best, f"its {self.objective} of {self.best:.6g} is forgotten")
        )
        if trainer.strategy.broadcast(lost):
            self.best = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Right after an optimizer step, never inside an accumulation window, nor where validation follows: the epoch's
        end saves then.
        """
        step = trainer.global_step
        validates = trainer.is_last_batch or (batch_idx + 1) % trainer.val_check_batch == 0
        if step != self.saved_step and step % self.every_n_steps == 0 and not validates:
            self._save(trainer, LAST)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keeps the figures, and the best weights so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.validation = {
            key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")
        }
        score = self.validation.get(self.objective)
        if score is None:
            return
        if self.best is None or score > self.best:
            self.best = score
            self._save(trainer, BEST)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """After validation and after the schedule has seen the epoch's loss."""
        self._save(trainer, LAST)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The end of a run that stops between two epochs."""
        self.save_last(trainer)

    def save_last(self, trainer: pl.Trainer) -> None:
        """Writes last.ckpt, unless this step's is there."""
        if trainer.global_step != self.saved_step:
            self._save(trainer, LAST)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if name == LAST:
            self.saved_step = trainer.global_step
        try:
            trainer.save_checkpoint(checkpoint_path(self.folder, name))
        except NotWritten:
            if not can_resume(
                self.folder
            ):  # best.ckpt alone would make the folder look used, and the run could not be started again
                checkpoint_path(self.folder, BEST).unlink(missing_ok=True)
            raise


class RandomState(pl.Callback):
    """Carries the random state of every process in the checkpoint, and gives it back before the first batch of a
    continued run.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.initial_seed = seed, seed
        self.restored: list[dict[str, Any]] = []
        self._rank = 0
        self._kept: dict[str, Any] | None = None
        self._saves_kept = False

    def keep(self) -> None:
        """Remembers this process's random state of this moment, after giving back the one that a continued run starts
        with.
        """
        self._restore_once()
        self._kept = random_state()

    @contextmanager
    def as_kept(self) -> Iterator[None]:
        """Checkpoints that are saved within carry the state that `keep` has remembered."""
        self._saves_kept = True
        try:
            yield
        finally:
            self._saves_kept = False

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Each process draws its own noise; the weights were drawn alike before."""
        self._rank = trainer.global_rank
        torch.manual_seed(self.seed * trainer.world_size + trainer.global_rank)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """One state per process; every process takes part in saving."""
        own = self._kept if self._saves_kept else random_state()
        states: list[Any] = [own]
        if several_processes():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, own)
        checkpoint["random_states"] = states
        checkpoint["initial_seed"] = self.initial_seed

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Kept until the run has done everything that draws numbers before its first batch."""
        self.restored = checkpoint.get("random_states", [])
        self.initial_seed = checkpoint.get("initial_seed", self.initial_seed)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Before the first batch."""
        self._restore_once()

    def _restore_once(self) -> None:
        if self._rank < len(self.restored):
            restore_random_state(self.restored[self._rank])
        self.restored = []
