"""What is done about a step: a pure function of its figures. Standard library only."""

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
    """Left to the gradient scaler of trainer.precision=16-mixed, which drops the step and lowers its scale."""


class TrainingHalted(RunFailed):
    """Training cannot go on: the loss or the gradient is not finite. The weights are the last good ones."""


@dataclass
class Counts:
    """Optimizer steps so far, by what became of them."""

    attempted: int = 0
    skipped: int = 0
    clipped: int = 0
    scaler_skips: int = 0
    in_a_row: int = 0
    """Steps skipped since the last one that was taken."""

    def add(self, action: Action) -> None:
        """Counts one step; not one that halts the run, as it does not count for the trainer either."""
        self.attempted += action is not Action.HALT
        self.clipped += action is Action.CLIP
        self.skipped += action is Action.SKIP
        self.scaler_skips += action is Action.BACK_OFF
        if action in (Action.STEP, Action.CLIP):
            self.in_a_row = 0
        elif action is Action.SKIP:
            self.in_a_row += 1

    @property
    def applied(self) -> int:
        """Steps that changed the weights."""
        return self.attempted - self.skipped - self.scaler_skips


def decide(
    clips: bool,
    loss_finite: bool,
    gradient_finite: bool,
    scale: float | None,
    skipped_in_a_row: int,
    settings: HealthSettings,
) -> Action:
    """The action for one step.

    clips: whether clipping would change the gradient; loss_finite, gradient_finite: whether every element is; scale:
    that of the gradient scaler, None without one: above 1, an overflow of the scaled gradient explains a bad gradient
    under a good loss; skipped_in_a_row: steps skipped right before.
    """
    if loss_finite and gradient_finite:
        return Action.CLIP if clips else Action.STEP
    if scale is not None and not gradient_finite and ((loss_finite and scale > 1) or settings.on_nonfinite == "warn"):
        return Action.BACK_OFF
    if settings.on_nonfinite == "warn":
        return Action.STEP
    if settings.on_nonfinite == "halt" or skipped_in_a_row >= settings.max_skips:
        return Action.HALT
    return Action.SKIP
