"""Decides which towers of a run can start from given weights, and copies the weights of these towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import ConfigError
from model.initial.source import KEY, InitialWeights

# Tower -> the beginnings of the names of its weights in `NWayClip.state_dict`.
PREFIXES = {
    "image": ("encoder.towers.vision.", "encoder.towers.visual_projection."),
    "text": ("encoder.towers.text.", "encoder.towers.text_projection."),
    "translator": ("encoder.states.", "encoder.translator."),
    "projection": ("encoder.projection.",),
    "logit_scale": ("logit_scale",),
}
# Tower -> the keys of conf/backbone that change what its weights compute.
CHOICES = {
    "image": ("vision_heads", "activation"),
    "text": ("text_heads", "activation"),
    "translator": ("translator_heads", "translator_activation", "translator_norm"),
}
# The towers without which a start from weights is an error. The others follow from them.
ENOUGH = ("image", "text", "translator")
# The towers that read token ids.
READ_TOKENS = ("text", "translator")


@dataclass(frozen=True)
class TowerReport:
    """Whether a tower of a run starts from the weights of init_from."""

    tower: str
    names: tuple[str, ...]
    """The weights of the tower, by their names in `NWayClip.state_dict`."""
    problem: str | None
    """Why the tower is not loaded, as a clause; None if it is loaded."""

    @property
    def text(self) -> str:
        """The result as a clause."""
        count = "1 weight" if len(self.names) == 1 else f"{len(self.names)} weights"
        return f"loaded ({count})" if self.problem is None else f"not loaded: {self.problem}"


def compare_towers(
    initial: InitialWeights, wanted: Mapping[str, Tensor], sizes: Mapping[str, Any], refused: Mapping[str, str]
) -> list[TowerReport]:
    """Returns a report for each tower of the run, and for towers of `initial` that the run does not have.

    wanted: the weights of the run by name; sizes: keys of conf/backbone of the run; refused: tower -> why it cannot be
    loaded, whatever its weights are.
    """
    reports = []
    for tower, prefixes in PREFIXES.items():
        names = tuple(name for name in wanted if name.startswith(prefixes))
        if names:
            problem = (
                absent(initial, names)
                or refused.get(tower)
                or other_choice(tower, initial.sizes, sizes)
                or misfit(initial, wanted, names)
            )
            reports.append(TowerReport(tower, names, problem))
        elif any(name.startswith(prefixes) for name in initial.weights):
            reports.append(TowerReport(tower, (), "this run has no such tower"))
    return reports


def other_choice(tower: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Returns how the tower of `there` computes something else than that of `here`, as a clause; None if it computes
    the same or if that is not known.
    """
    for key in CHOICES.get(tower, ()):
        if key in there and there[key] != here[key]:
            return f"backbone.{key} is {there[key]} there and {here[key]} here"
    return None


def absent(initial: InitialWeights, names: tuple[str, ...]) -> str | None:
    """Returns a clause if all of the weights `names` are missing; otherwise None."""
    return None if any(name in initial.weights for name in names) else "its weights are missing there"


def misfit(initial: InitialWeights, wanted: Mapping[str, Tensor], names: tuple[str, ...]) -> str | None:
    """Returns which of the weights `names` are missing or have another shape, as a clause; None if all fit."""
    missing = [name for name in names if name not in initial.weights]
    if missing:
        others = f" and {len(missing) - 1} others are" if len(missing) > 1 else " is"
        return f"{missing[0]}{others} missing there"
    for name in names:
        there, here = tuple(initial.weights[name].shape), tuple(wanted[name].shape)
        if there != here:
            return f"{name} is {there} there and {here} here"
    return None


def require_towers(initial: InitialWeights, reports: list[TowerReport]) -> None:
    """Raises ConfigError if neither the image tower, nor the text tower, nor the encoder-decoder is loaded."""
    if not any(report.tower in ENOUGH and report.problem is None for report in reports):
        found = "; ".join(f"{report.tower}: {report.problem}" for report in reports if report.tower in ENOUGH)
        raise ConfigError(
            f"{KEY}={initial.named} has no tower for this run; allowed: weights of the same backbone= (and tokeniser)\n"
            f"{found}"
        )


def copy_towers(module: nn.Module, weights: Mapping[str, Tensor], reports: list[TowerReport]) -> None:
    """Copies the weights of the loaded towers into `module`, in the dtype that the module has."""
    state = module.state_dict()
    with torch.no_grad():
        for report in reports:
            for name in report.names if report.problem is None else ():
                state[name].copy_(weights[name])
