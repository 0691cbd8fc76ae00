"""Lightning's side of gradient health: hooks only. Each optimizer step is measured once, after accumulation, the sum over processes and
unscaling, and before Lightning's own clipping."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from model.health.advice import Adviser, gradient_advice
from model.health.clipping import coefficient, drop_gradients, scale_gradients
from model.health.groups import Recorder, Viewed, group_norms, layer_names, tower_names
from model.health.halt import LAST_GOOD, from_all_processes, write_halt
from model.health.history import FILE, History
from model.health.limits import HealthSettings
from model.health.metrics import gradient_metrics, history_row, norm_metrics
from model.health.policy import Action, Counts, TrainingHalted, decide
from model.health.reading import Measurement, Reading, measure, read
from model.health.window import Window

log = logging.getLogger(__name__)


class GradientHealthCallback(pl.Callback):
    """Measures, records, clips, skips and halts as the settings say."""

    def __init__(self, settings: HealthSettings, run_dir: Path | None) -> None:
        """run_dir: where health.jsonl, and on a halt halt.json and the last good checkpoint, are written; None: nowhere."""
        self.settings, self.run_dir = settings, run_dir
        self.history = History(run_dir / FILE) if run_dir is not None else None
        self.adviser = Adviser()
        self.window = Window()
        self._counts = Counts()
        self._clipped_on_device: Tensor | int = 0
        self._known_rows: int | None = None
        self._names: dict[int, str] = {}
        self._towers: dict[str, list[str]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Optimizer steps attempted, applied, skipped, clipped, and dropped by the gradient scaler (scaler_skips)."""
        counts = self._settled()
        names = ("attempted", "applied", "skipped", "clipped", "scaler_skips")
        return {name: getattr(counts, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the counts, and how many rows the history has."""
        return {"counts": asdict(self._settled()), "rows": self.history.rows if self.history else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._counts = Counts(**state_dict["counts"])
        self._known_rows = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drops the rows that came after the checkpoint; learns the names."""
        if self._known_rows is not None and self.history and trainer.is_global_zero:
            self.history.rewind(self._known_rows)
        self._names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
        self._towers = tower_names(pl_module)
        self.window.clear()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Keeps which samples are in the batch."""
        self.window.add_batch(batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keeps whether the loss is finite, on the device."""
        self.window.add_loss(loss)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer) -> None:
        """One step: measure, decide, act, record."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = {self._names[id(p)]: p.grad for p in parameters if p.grad is not None and p.grad.numel()}
        measured = measure(gradients, self.window.any_bad(pl_module.device))
        due = (trainer.global_step + 1) % self.settings.every_n_steps == 0
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if due or self.settings.decides or scaler is not None:
            reading = read(measured, full=due)
            scale = scaler.get_scale() if scaler is not None and not reading.finite else None
            counts = self._settled()
            action = decide(reading.norm, reading.loss_finite, reading.gradient_finite, scale, counts.in_a_row, self.settings)
            counts.add(action)
            self._act(trainer, pl_module, measured, reading, action)
        else:
            self._undecided(measured)
        self.window.clear()

    def _undecided(self, measured: Measurement) -> None:
        """A step that is taken whatever its figures: clipped without asking for them."""
        self._counts.add(Action.STEP)
        if self.settings.clip is not None:
            scale = coefficient(measured.total, self.settings.clip, self.settings.clip_above)
            scale_gradients(list(measured.gradients.values()), scale)
            self._clipped_on_device = self._clipped_on_device + (scale < 1)

    def _act(self, trainer: pl.Trainer, module: pl.LightningModule, measured: Measurement, reading: Reading, action: Action) -> None:
        """Does what was decided, and records it where a row is due or the step is bad."""
        clip_coef: Tensor | float = 1.0
        logit_scale = logit_scale_gradient(measured) if reading.report is not None else {}
        if action is Action.CLIP:
            clip_coef = coefficient(trusted_total(measured, reading), self.settings.clip, self.settings.clip_above)
            scale_gradients(list(measured.gradients.values()), clip_coef)
        if reading.report is not None:
            self._record(trainer, module, reading, action, {"grad/clip_coef": clip_coef} | logit_scale)
        if action in (Action.SKIP, Action.HALT):
            drop_gradients(list(module.parameters()))
        if action in (Action.SKIP, Action.BACK_OFF):
            module.step_skipped = True
        if action is Action.SKIP:
            log.warning("step %d skipped: %s; samples %s", trainer.global_step + 1, reason(reading), self.window.offenders(not reading.loss_finite))
        if action is Action.HALT:
            self._halt(trainer, reading)

    def _record(
        self, trainer: pl.Trainer, module: pl.LightningModule, reading: Reading, action: Action, more: dict[str, Tensor | float]
    ) -> None:
        """The row of metrics, the line of the history, and advice that is news."""
        report, step = reading.report, trainer.global_step + 1
        layers = layer_names(report.norms)
        if isinstance(module, Recorder):
            views = {f"grad_view/{name}/norm": norm for name, norm in module.view_gradients().items()} if isinstance(module, Viewed) else {}
            by_layer = norm_metrics("grad_layer", layers, report) if self.settings.per_layer else {}
            towers = norm_metrics("grad_tower", self._towers, report)
            module.record(gradient_metrics(report, action, self._counts) | more | towers | views | by_layer)
        if not trainer.is_global_zero:
            return
        if self.history:
            self.history.append(history_row(step, report, layers, action, self._counts))
        # By layer: the bias of an attention key has no effect, and so no gradient, in any transformer.
        norms = group_norms(layers, report.norms)
        without = [name for name, p in module.named_parameters() if p.requires_grad and name not in report.norms and p.numel()]
        for advice in self.adviser.news(gradient_advice(report, norms, without, self.settings.vanishing, self.settings.exploding), step):
            log.warning("step %d: %s", step, advice)

    def _halt(self, trainer: pl.Trainer, reading: Reading) -> None:
        """Keeps the last good weights, says what went wrong, and ends the run in every process."""
        why, step = reason(reading), trainer.global_step + 1
        indices = from_all_processes(self.window.offenders(not reading.loss_finite))
        if self.run_dir is not None:
            trainer.save_checkpoint(self.run_dir / LAST_GOOD)
            if trainer.is_global_zero:
                layers = list(dict.fromkeys((*reading.report.nan, *reading.report.inf)))
                write_halt(self.run_dir, step=step, reason=why, indices=indices, layers=layers)
        raise TrainingHalted(f"step {step}: {why}, {self._counts.in_a_row} steps were skipped before it")

    def _settled(self) -> Counts:
        """The counts, with what was counted on the device."""
        self._counts.clipped += int(self._clipped_on_device)
        self._clipped_on_device = 0
        return self._counts


def trusted_total(measured: Measurement, reading: Reading) -> Tensor:
    """The norm to clip by: torch's own, or where that overflowed the exact one."""
    total = measured.total
    return torch.tensor(reading.norm, dtype=torch.float64, device=total.device) if reading.overflowed else total


def logit_scale_gradient(measured: Measurement) -> dict[str, Tensor | float]:
    """grad/logit_scale, with its sign, where the module has a parameter of that name."""
    gradient = measured.gradients.get("logit_scale")
    return {} if gradient is None else {"grad/logit_scale": gradient.detach().clone().reshape(())}


def reason(reading: Reading) -> str:
    """Why a step is bad, in words."""
    bad = [name for name, finite in (("the loss", reading.loss_finite), ("the gradient", reading.gradient_finite)) if not finite]
    return f"{' and '.join(bad)} {'are' if len(bad) > 1 else 'is'} not finite"
