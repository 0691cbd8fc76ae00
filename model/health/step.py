"""Acts on the gradients of one optimizer step, in any training loop: plain PyTorch, no Lightning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from model.distributed import several_processes
from model.health.clipping import drop_gradients, scale_gradients
from model.health.halt import LAST_GOOD, from_all_processes, halt_text, suspect_samples, write_halt
from model.health.journal import HealthJournal
from model.health.limits import HealthSettings
from model.health.metrics import logit_scale_metric
from model.health.noise import add_seeded_noise, noise_deviation
from model.health.policy import Action, Counts, TrainingHalted, decide
from model.health.reading import Measurement, Reading, measure, read, trusted_coefficient
from model.steps import due

log = logging.getLogger(__name__)


class HealthStep:
    """Measures the gradients of each optimizer step and decides whether the step is applied. Clips the gradients, adds
    noise to them, discards them, or halts training, as the settings say.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: HealthSettings,
        *,
        run_dir: Path | None = None,
        seed: int = 0,
        last_step: float = -1,
        save: Callable[[Path], object] | None = None,
    ) -> None:
        """model: holds all parameters of the optimizer, and gets a row of metrics where it has a method
        `record(dict)`. run_dir: the folder of health.jsonl, and after a halt of halt.json; None: write no files. seed:
        of the gradient noise. last_step: the number of the last optimizer step, which gets a row; -1: not known. save:
        writes a checkpoint to the path that it is called with, before training halts; every process calls it.
        """
        self.model, self.settings, self.run_dir = model, settings, run_dir
        self._seed, self._last_step, self._save = seed, last_step, save
        self._is_first = not several_processes() or dist.get_rank() == 0
        self._journal = HealthJournal(model, settings, run_dir, self._is_first)
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._counts = Counts()
        self._clipped_on_device: Tensor | int = 0

    @property
    def counts(self) -> Counts:
        """The numbers of attempted, applied, skipped and clipped steps. Synchronises where steps were clipped without
        the host's knowledge.
        """
        self._counts.clipped += int(self._clipped_on_device)
        self._clipped_on_device = 0
        return self._counts

    def state_dict(self) -> dict[str, Any]:
        """Returns plain numbers: the counts, and the number of lines of health.jsonl."""
        return {"counts": asdict(self.counts), "rows": self._journal.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned. Removes the lines of health.jsonl that were written after it."""
        self._counts, self._clipped_on_device = Counts(**state_dict["counts"]), 0
        self._journal.rewind(state_dict["rows"])

    def begin_batch(self, step: int | None = None) -> None:
        """Measures the activations of the next forward pass if the step gets a row. Needed with
        `settings.activations` only. step: as in `act`.
        """
        if self._gets_row(self._number(step)):
            self._journal.watch_activations()

    def act(
        self,
        optimizer: Optimizer,
        losses: Tensor,
        *,
        indices: Sequence[Tensor | None] = (),
        step: int | None = None,
        loss_scale: float | None = None,
    ) -> Action:
        """Acts on the gradients of `optimizer`, after the backward pass and before `optimizer.step()`.

        Call `optimizer.step()` and the schedule only where the returned action is `applied`. After a skipped step all
        gradients are None. Raises TrainingHalted in every process if the settings require a halt, and ValueError if
        the optimizer has a parameter that the model does not have.

        losses: the loss of the step, or the (N,) losses of N accumulated batches whose sum was differentiated, without
        the factor of a gradient scaler. indices: the sample indices of each batch, for messages about bad steps. step:
        the number of this step, counted from 1; None: the number of steps so far, plus 1. loss_scale: the scale of the
        gradient scaler, whose `unscale_` must have been called; None: no scaler.
        """
        number, losses = self._number(step), losses.detach().reshape(-1)
        measurement = measure(self._gradients(optimizer), losses.sum(), self.settings.clip, self.settings.clip_above)
        has_row = self._gets_row(number)
        try:
            if not (has_row or loss_scale is not None or self.settings.prevents_bad_steps):
                return self._apply_unread(measurement, number)
            reading = read(measurement, full=has_row)
            action = self._decide(reading, loss_scale)
            self._apply(measurement, reading, action, number)
            if action in (Action.SKIP, Action.HALT):
                self._reject(reading, action, number, suspect_samples(losses, indices, by_loss=not reading.loss_finite))
            return action
        finally:
            self._journal.unwatch_activations()

    def close(self) -> None:
        """Removes all hooks from the model."""
        self._journal.unwatch_activations()

    def _number(self, step: int | None) -> int:
        """Returns the number of the current step, counted from 1."""
        return self._counts.attempted + 1 if step is None else step

    def _gets_row(self, number: int) -> bool:
        """Returns whether the step gets a row of metrics."""
        return due(number, self.settings.every_n_steps, self._last_step)

    def _gradients(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Returns the gradients with at least one element by parameter name, in the order of the optimizer's groups.

        Raises ValueError if the optimizer has a parameter that the model does not have.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if any(id(parameter) not in self._names for parameter in parameters):
            raise ValueError(
                "optimizer: it has a parameter that `model` does not have; accepted: a model that holds all parameters "
                "of the optimizer, such as nn.ModuleList([net, loss])"
            )
        return {self._names[id(p)]: p.grad for p in parameters if p.grad is not None and p.grad.numel()}

    def _decide(self, reading: Reading, loss_scale: float | None) -> Action:
        """Decides on the action, and counts the step."""
        counts = self.counts
        action = decide(
            reading.clips, reading.loss_finite, reading.gradient_finite, loss_scale, counts.in_a_row, self.settings
        )
        counts.add(action)
        return action

    def _apply_unread(self, measurement: Measurement, number: int) -> Action:
        """Applies a step whose figures the host does not need: clips it on the device."""
        self._counts.add(Action.STEP)
        if self.settings.clip is not None:
            scale_gradients(measurement.gradients.values(), measurement.clip_coefficient)
            self._clipped_on_device = self._clipped_on_device + (measurement.clip_coefficient < 1)
        self._add_noise(measurement, number)
        return Action.STEP

    def _apply(self, measurement: Measurement, reading: Reading, action: Action, number: int) -> None:
        """Clips, records the step, and adds noise to a step that is applied."""
        more: dict[str, Tensor | float] = {"grad/clip_coef": 1.0}
        if reading.report is not None:
            more |= logit_scale_metric(measurement.gradients)
        if action is Action.CLIP:
            coefficient = trusted_coefficient(measurement, reading, self.settings)
            scale_gradients(measurement.gradients.values(), coefficient)
            more["grad/clip_coef"] = coefficient
        self._journal.step(number, reading, action, self._counts, more)
        if action.applied:
            self._add_noise(measurement, number)

    def _add_noise(self, measurement: Measurement, number: int) -> None:
        """Adds the gradient noise of this step."""
        if self.settings.noise_std:
            deviation = noise_deviation(self.settings.noise_std, self.settings.noise_gamma, number - 1)
            add_seeded_noise(measurement.gradients.values(), deviation, self._seed, number - 1)

    def _reject(self, reading: Reading, action: Action, number: int, samples: list[int]) -> None:
        """Discards the gradients, and halts training where that is the action."""
        drop_gradients(list(self.model.parameters()))
        log.warning("step %d skipped: %s%s", number, reading.problem, f"; samples {samples}" if samples else "")
        if action is Action.HALT:
            self._halt(reading, number, from_all_processes(samples))

    def _halt(self, reading: Reading, number: int, samples: list[int]) -> None:
        """Writes the files of a halted run, and raises TrainingHalted in every process."""
        has_checkpoint = self.run_dir is not None and self._save is not None
        if self.run_dir is not None:
            if self._save is not None:
                (self.run_dir / LAST_GOOD).parent.mkdir(parents=True, exist_ok=True)
                self._save(self.run_dir / LAST_GOOD)
            if self._is_first:
                write_halt(
                    self.run_dir,
                    step=number,
                    reason=reading.problem,
                    indices=samples,
                    layers=reading.nonfinite_layers,
                    has_checkpoint=has_checkpoint,
                )
        raise TrainingHalted(halt_text(number, reading.problem, self._counts.in_a_row, self.run_dir, has_checkpoint))
