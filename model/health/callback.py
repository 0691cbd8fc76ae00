"""Lightning's side of the gradient monitor: hooks only. The gradient of each optimizer step is measured once: after
accumulation, the sum over processes and unscaling, and before Lightning's own clipping.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

from model.health.clipping import coefficient, drop_gradients, scale_gradients
from model.health.halt import LAST_GOOD, from_all_processes, halt_text, write_halt
from model.health.journal import HealthJournal
from model.health.limits import HealthSettings, refuse_strategy, refuse_two_clippings
from model.health.noise import add_noise, noise_deviation
from model.health.policy import Action, Counts, TrainingHalted, decide
from model.health.reading import Measurement, Reading, measure, read
from model.health.window import Window
from model.steps import due

log = logging.getLogger(__name__)


class GradientHealthCallback(pl.Callback):
    """Measures, records, clips, skips and halts as the settings say."""

    def __init__(self, settings: HealthSettings, run_dir: Path | None) -> None:
        """run_dir: where health.jsonl, and on a halt halt.json and the last good checkpoint, are written; None:
        nowhere.
        """
        self.settings, self.run_dir = settings, run_dir
        self.journal = HealthJournal(settings, run_dir)
        self.window = Window()
        self._counts = Counts()
        self._clipped_on_device: Tensor | int = 0
        self._known_rows: int | None = None
        self._names: dict[int, str] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Optimizer steps attempted, applied, skipped, clipped, and dropped by the gradient scaler (scaler_skips)."""
        counts = self._settled()
        names = ("attempted", "applied", "skipped", "clipped", "scaler_skips")
        return {name: getattr(counts, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the counts, and how many rows the history has."""
        return {"counts": asdict(self._settled()), "rows": self.journal.history.rows if self.journal.history else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._counts = Counts(**state_dict["counts"])
        self._known_rows = state_dict["rows"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Raises ConfigError where no process can see a whole gradient, or the Trainer clips too."""
        refuse_flat_shards(trainer.strategy)
        refuse_two_clippings(self.settings.clip, trainer.gradient_clip_val)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Learns the names; goes back to the rows that the checkpoint knows of."""
        self._names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
        self.journal.open(pl_module, trainer.is_global_zero, self._known_rows)
        self.window.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps which samples are in the batch."""
        self.window.add_batch(batch)
        self.journal.watch(self._due(trainer))

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keeps the loss, on its device."""
        self.window.add_loss(loss)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """One step: measure, decide, act, record."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else None
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            # Lightning leaves it to a fused optimizer to divide by the scale, which it would do after this hook.
            scaler.unscale_(optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = {self._names[id(p)]: p.grad for p in parameters if p.grad is not None and p.grad.numel()}
        loss = self.window.loss(pl_module.device) / (scale or 1.0)
        measured = measure(gradients, loss, self.settings.clip, self.settings.clip_above)
        has_row = self._due(trainer)
        if has_row or scaler is not None or self.settings.decides:
            reading = read(measured, full=has_row)
            counts = self._settled()
            action = decide(
                reading.clips, reading.loss_finite, reading.gradient_finite, scale, counts.in_a_row, self.settings
            )
            counts.add(action)
            self._act(trainer, pl_module, measured, reading, action)
        else:
            self._undecided(trainer, measured)
        self.journal.unwatch()
        self.window.clear()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leaves no hooks behind."""
        self.journal.unwatch()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Nor where training ended within a step: Lightning calls no teardown then."""
        self.journal.unwatch()

    def _due(self, trainer: pl.Trainer) -> bool:
        """Whether the step at hand gets a row."""
        return due(trainer.global_step + 1, self.settings.every_n_steps, trainer.estimated_stepping_batches)

    def _undecided(self, trainer: pl.Trainer, measured: Measurement) -> None:
        """A step that is taken whatever its figures: clipped without asking for them."""
        self._counts.add(Action.STEP)
        if self.settings.clip is not None:
            scale_gradients(list(measured.gradients.values()), measured.scale)
            self._clipped_on_device = self._clipped_on_device + (measured.scale < 1)
        self._add_noise(trainer, measured.gradients)

    def _act(
        self, trainer: pl.Trainer, module: pl.LightningModule, measured: Measurement, reading: Reading, action: Action
    ) -> None:
        """Does what was decided, and records it."""
        step, more = trainer.global_step + 1, {"grad/clip_coef": 1.0, **logit_scale_gradient(measured, reading)}
        if action is Action.CLIP:
            more["grad/clip_coef"] = trusted_scale(measured, reading, self.settings)
            scale_gradients(list(measured.gradients.values()), more["grad/clip_coef"])
        self.journal.step(module, step, reading, action, self._counts, more)
        if action in (Action.STEP, Action.CLIP):
            self._add_noise(trainer, measured.gradients)
        else:
            module.step_skipped = True
        if action in (Action.SKIP, Action.HALT):
            drop_gradients(list(module.parameters()))
            log.warning(
                "step %d left out: %s; samples %s",
                step,
                reason(reading),
                self.window.offenders(not reading.loss_finite),
            )
        if action is Action.HALT:
            self._halt(trainer, step, reading)

    def _add_noise(self, trainer: pl.Trainer, gradients: Mapping[str, Tensor]) -> None:
        """The same noise in every process, and again after a resume: drawn from the run's seed and the step."""
        if self.settings.noise_std == 0:
            return
        deviation = noise_deviation(self.settings.noise_std, self.settings.noise_gamma, trainer.global_step)
        by_device: dict[torch.device, list[Tensor]] = {}
        for gradient in gradients.values():
            by_device.setdefault(gradient.device, []).append(gradient)
        for device, members in by_device.items():
            seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) * 1_000_003 + trainer.global_step
            add_noise(members, deviation, torch.Generator(device).manual_seed(seed))

    def _halt(self, trainer: pl.Trainer, step: int, reading: Reading) -> None:
        """Keeps the last good weights, says what went wrong, and ends the run in every process."""
        why = reason(reading)
        indices = from_all_processes(self.window.offenders(not reading.loss_finite))
        if self.run_dir is not None:
            trainer.save_checkpoint(self.run_dir / LAST_GOOD)
            if trainer.is_global_zero:
                layers = list(dict.fromkeys((*reading.report.nan, *reading.report.inf)))
                write_halt(self.run_dir, step=step, reason=why, indices=indices, layers=layers)
        raise TrainingHalted(halt_text(step, why, self._counts.in_a_row, self.run_dir))

    def _settled(self) -> Counts:
        """The counts, with what was counted on the device."""
        self._counts.clipped += int(self._clipped_on_device)
        self._clipped_on_device = 0
        return self._counts


def refuse_flat_shards(strategy: Strategy) -> None:
    """Raises ConfigError for a strategy under which each process holds a nameless part of the gradient."""
    for kind, name in ((FSDPStrategy, "fsdp"), (DeepSpeedStrategy, "deepspeed")):
        if isinstance(strategy, kind):
            refuse_strategy(name)


def trusted_scale(measured: Measurement, reading: Reading, settings: HealthSettings) -> Tensor:
    """What clipping multiplies by: from torch's own norm, or where that overflowed from the exact one."""
    if not reading.overflowed:
        return measured.scale
    exact = torch.tensor(reading.norm, dtype=torch.float64, device=measured.total.device)
    return coefficient(exact, settings.clip, settings.clip_above)


def logit_scale_gradient(measured: Measurement, reading: Reading) -> dict[str, Tensor]:
    """grad/logit_scale, with its sign and before clipping, where a row is written and the module has a parameter of
    that name.
    """
    gradient = measured.gradients.get("logit_scale")
    return (
        {}
        if gradient is None or reading.report is None
        else {"grad/logit_scale": gradient.detach().clone().reshape(())}
    )


def reason(reading: Reading) -> str:
    """Why a step is bad, in words."""
    bad = [
        name
        for name, finite in (("the loss", reading.loss_finite), ("the gradient", reading.gradient_finite))
        if not finite
    ]
    return f"{' and '.join(bad)} {'are' if len(bad) > 1 else 'is'} not finite"
