"""Connects `HealthStep` to a Lightning Trainer: hooks only.

The gradient of each optimizer step is measured once: after accumulation, reduction over processes and unscaling, and
before Lightning's own clipping.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

from model.health.limits import HealthSettings, refuse_strategy, refuse_two_clippings
from model.health.policy import Counts
from model.health.step import HealthStep


class SkippingModule(Protocol):
    """A module that leaves its schedule alone after a skipped step."""

    step_skipped: bool


class GradientHealthCallback(pl.Callback):
    """Measures, records, clips, skips and halts as the settings say. The metrics go to the module's method
    `record(dict)`, if it has one.
    """

    def __init__(self, settings: HealthSettings, run_dir: Path | None, seed: int = 0) -> None:
        """run_dir: the folder of health.jsonl, and after a halt of halt.json and the last good checkpoint; None: write
        no files. seed: of the gradient noise.
        """
        self.settings, self.run_dir, self.seed = settings, run_dir, seed
        self._step: HealthStep | None = None
        self._restored: dict[str, Any] | None = None
        self._losses: list[Tensor] = []
        self._indices: list[Tensor | None] = []

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of optimizer steps attempted, applied, skipped, clipped, and dropped by the gradient scaler
        (scaler_skips).
        """
        counts = Counts(**self.state_dict()["counts"])
        names = ("attempted", "applied", "skipped", "clipped", "scaler_skips")
        return {name: getattr(counts, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Returns plain numbers: the counts, and the number of lines of health.jsonl."""
        if self._step is not None:
            return self._step.state_dict()
        return self._restored or {"counts": asdict(Counts()), "rows": 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, when training starts."""
        self._step, self._restored = None, state_dict

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Raises ConfigError where no process holds a whole gradient, or where the Trainer clips too."""
        refuse_sharded_strategy(trainer.strategy)
        refuse_two_clippings(self.settings.clip, trainer.gradient_clip_val)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts to monitor the module, from the state of the checkpoint of a resumed run."""
        restored = self._restored if self._step is None else self._step.state_dict()
        self._step = HealthStep(
            pl_module,
            self.settings,
            run_dir=self.run_dir,
            seed=self.seed,
            last_step=trainer.estimated_stepping_batches,
            save=trainer.save_checkpoint,
        )
        if restored is not None:
            self._step.load_state_dict(restored)
        self._clear_batches()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps the sample indices of the batch, if it has any."""
        self._indices.append(getattr(batch, "indices", None))
        self._running_step().begin_batch(trainer.global_step + 1)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keeps the loss on its device: divided by the number of accumulated batches, and scaled for half precision."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Measures the gradients of one optimizer step, and acts on them."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else None
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            # Lightning leaves the division by the scale to a fused optimizer, which would divide after this hook.
            scaler.unscale_(optimizer)
        losses = [loss.to(pl_module.device) / (scale or 1.0) for loss in self._losses]
        action = self._running_step().act(
            optimizer,
            torch.stack(losses) if losses else torch.zeros(0, device=pl_module.device),
            indices=self._indices,
            step=trainer.global_step + 1,
            loss_scale=scale,
        )
        if not action.applied:
            cast(SkippingModule, pl_module).step_skipped = True
        self._clear_batches()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes all hooks from the module."""
        if self._step is not None:
            self._step.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes all hooks where training ends within a step. Lightning does not call `teardown` then."""
        self.teardown(trainer, pl_module, "fit")

    def _running_step(self) -> HealthStep:
        """Returns the `HealthStep` that `on_train_start` created."""
        assert self._step is not None
        return self._step

    def _clear_batches(self) -> None:
        """Starts to collect the batches of the next optimizer step."""
        self._losses, self._indices = [], []


def refuse_sharded_strategy(strategy: Strategy) -> None:
    """Raises ConfigError for a strategy under which each process holds an unnamed part of the gradient."""
    for kind, name in ((FSDPStrategy, "fsdp"), (DeepSpeedStrategy, "deepspeed")):
        if isinstance(strategy, kind):
            refuse_strategy(name)
