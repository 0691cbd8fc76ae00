"""Decides what happens to an optimizer step: a pure function of a few values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from model.errors import RunFailed
from model.health.limits import HealthSettings


class Action(Enum):
    """What happens to an optimizer step."""

    STEP = "step"
    CLIP = "clip"
    SKIP = "skip"
    HALT = "halt"
    BACK_OFF = "back_off"
    """The gradient scaler of half precision drops the step and lowers its scale."""

    @property
    def applied(self) -> bool:
        """Whether the optimizer changes the weights."""
        return self in (Action.STEP, Action.CLIP)


class TrainingHalted(RunFailed):
    """Training cannot continue: the loss or the gradient is not finite. The weights are those after the last applied
    step.
    """


@dataclass
class Counts:
    """The numbers of optimizer steps so far, by what happened to them."""

    attempted: int = 0
    skipped: int = 0
    clipped: int = 0
    scaler_skips: int = 0
    in_a_row: int = 0
    """The number of skipped steps since the last applied step."""

    def add(self, action: Action) -> None:
        """Counts one step. A step that halts the run is not counted, as the Trainer does not count it either."""
        self.attempted += action is not Action.HALT
        self.clipped += action is Action.CLIP
        self.skipped += action is Action.SKIP
        self.scaler_skips += action is Action.BACK_OFF
        if action.applied:
            self.in_a_row = 0
        elif action is Action.SKIP:
            self.in_a_row += 1

    @property
    def applied(self) -> int:
        """The number of steps that changed the weights."""
        return self.attempted - self.skipped - self.scaler_skips


def decide(
    clips: bool,
    loss_finite: bool,
    gradient_finite: bool,
    loss_scale: float | None,
    skipped_in_a_row: int,
    settings: HealthSettings,
) -> Action:
    """Returns the action for one step.

    clips: whether clipping would change the gradient. loss_finite, gradient_finite: whether every element is finite.
    loss_scale: the scale of the gradient scaler, None without a scaler. Where it is above 1, an overflow of the scaled
    gradient explains a gradient that is not finite under a finite loss. skipped_in_a_row: the number of steps that were
    skipped directly before this one.
    """
    if loss_finite and gradient_finite:
        return Action.CLIP if clips else Action.STEP
    if loss_scale is not None and not gradient_finite:
        overflowed = loss_finite and loss_scale > 1
        if overflowed or settings.on_nonfinite == "warn":
            return Action.BACK_OFF
    if settings.on_nonfinite == "warn":
        return Action.STEP
    if settings.on_nonfinite == "halt" or skipped_in_a_row >= settings.max_skips:
        return Action.HALT
    return Action.SKIP
