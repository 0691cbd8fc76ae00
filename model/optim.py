"""Optimizers and learning-rate schedules from their configuration. torch only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lion_pytorch import Lion
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model.config.schema import AdamWConfig, CosineConfig, OptimizerConfig, ScheduleConfig
from model.errors import ConfigError

# Matrices without weight decay: the projection P starts as the identity, and decay would shrink it towards 0.
NOT_DECAYED = ("projection.matrix",)
# The smallest number of steps from the old rate to the new curve. AdamW and Lion average gradients over about this many
# steps: 1 / (1 - beta) with beta = 0.9.
LEAST_APPROACH = 10


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Returns one group with weight decay (matrices and embeddings) and one without (biases, norms, scales and P).
    Frozen parameters are in neither, and an empty group is left out.
    """
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    decayed = [p for name, p in trained if p.ndim >= 2 and not name.endswith(NOT_DECAYED)]
    others = [p for name, p in trained if p.ndim < 2 or name.endswith(NOT_DECAYED)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """Returns AdamW (Loshchilov and Hutter 2019): the fused implementation on CPUs, elsewhere the vectorised one.

    On GPUs, a fused optimizer would divide the gradients by the scale of mixed precision itself, and Lightning refuses
    to clip before it.
    """
    assert isinstance(config, AdamWConfig)
    on_cpu = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    betas = (config.betas[0], config.betas[1])
    return AdamW(groups, lr=config.lr, betas=betas, eps=config.eps, foreach=not on_cpu, fused=on_cpu)


def lion(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """Returns Lion (Chen et al. 2023)."""
    return Lion(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]))


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], OptimizerConfig], Optimizer]] = {"adamw": adamw, "lion": lion}


def make_optimizer(
    module: nn.Module, config: OptimizerConfig, scaled: Mapping[str, Sequence[nn.Parameter]] | None = None
) -> Optimizer:
    """Returns the optimizer of every trained parameter of `module`.

    scaled: tower -> its parameters, for the towers that optimizer.lr_scale names. They have parameter groups of their
    own, whose entry `tower` is that name.
    """
    tower_of = {id(parameter): name for name, parameters in (scaled or {}).items() for parameter in parameters}
    members: dict[str | None, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        members.setdefault(tower_of.get(id(parameter)), []).append((name, parameter))
    groups: list[dict[str, Any]] = []
    for tower, named in members.items():
        rate = {} if tower is None else {"lr": config.lr * config.lr_scale[tower], "tower": tower}
        groups += [group | rate for group in parameter_groups(named, config.weight_decay)]
    return OPTIMIZERS[config.name](groups, config)


class Plateau:
    """A factor on the learning rate that is lowered when the epoch's mean loss stops falling.

    It follows the rule of torch's ReduceLROnPlateau with its default threshold. torch's class sets the rate of the
    optimizer itself, so that it cannot be one factor under a warm-up.
    """

    def __init__(self, factor: float, patience: int) -> None:
        """factor: multiplies the rate; patience: the number of epochs without a lower loss that are accepted."""
        self.factor, self.patience = factor, patience
        self.scale, self.best, self.bad_epochs = 1.0, math.inf, 0

    def end_epoch(self, loss: float) -> None:
        """Lowers `scale` where `loss`, the mean of the epoch, has not fallen for more than `patience` epochs."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.bad_epochs = loss, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.scale, self.bad_epochs = self.scale * self.factor, 0

    def state_dict(self) -> dict[str, float]:
        """Returns plain numbers; `waited` is the key of `bad_epochs` in checkpoints."""
        return {"scale": self.scale, "best": self.best, "waited": self.bad_epochs}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restores what `state_dict` returned."""
        self.scale, self.best, self.bad_epochs = state["scale"], state["best"], int(state["waited"])


@dataclass(frozen=True)
class Approach:
    """A linear change from the rate that a run had to the curve of a schedule with another number of steps."""

    start: int
    """Updates of the schedule before its first step."""
    factor: float
    """The factor on `optimizer.lr` at its start."""
    length: int
    """Steps until the curve is reached."""

    def factor_at(self, step: int, curve: float) -> float:
        """Returns the factor at `step`, where the curve has the value `curve`."""
        share = min(1.0, (step - self.start + 1) / self.length)
        return curve if share == 1.0 else self.factor + (curve - self.factor) * share


def decay_of(config: ScheduleConfig, plateau: Plateau | None) -> Callable[[float], float]:
    """Returns the curve of a schedule after its warm-up: share of the remaining steps (0 to 1) -> factor."""
    if isinstance(config, CosineConfig):
        final = config.final
        return lambda share: final + (1 - final) * (1 + math.cos(math.pi * share)) / 2
    return lambda share: plateau.scale if plateau else 1.0


class Rate:
    """Step -> factor on `optimizer.lr`. When the number of steps changes in a continued run, the warm-up stays as it
    was, and the rate changes linearly from its last value to the new curve.
    """

    def __init__(self, config: ScheduleConfig, total_steps: float, plateau: Plateau | None) -> None:
        """total_steps: infinite where it is not known. Raises ConfigError for a schedule that needs to know it."""
        is_known = math.isfinite(total_steps)
        if not is_known and (config.warmup > 0 or isinstance(config, CosineConfig)):
            raise ConfigError(
                f"schedule={config.name} needs the number of steps; allowed: trainer.max_steps or trainer.max_epochs "
                "beside it"
            )
        self.total_steps, self._warmup_share, self._decay = total_steps, config.warmup, decay_of(config, plateau)
        self.warmup = math.ceil(config.warmup * total_steps) if is_known else 0
        self.approach: Approach | None = None

    def factor(self, step: int) -> float:
        """Returns the factor after `step` updates."""
        curve = self.curve(step)
        return curve if self.approach is None else self.approach.factor_at(step, curve)

    def curve(self, step: int) -> float:
        """Returns the factor after `step` updates in a run that had this number of steps from its beginning."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self._decay(min(1.0, (step - self.warmup) / max(1, self.total_steps - self.warmup)))

    def state_dict(self) -> dict[str, Any]:
        """Returns plain numbers."""
        approach = asdict(self.approach) if self.approach else None
        return {"total_steps": self.total_steps, "warmup": self.warmup, "approach": approach}

    def resume(self, state: dict[str, Any], step: int, factor: float) -> bool:
        """Restores what `state_dict` returned after `step` updates, when the factor was `factor`.

        Returns whether the factor changes with the first step, because the number of steps has changed.
        """
        self.warmup = state["warmup"]
        if state["total_steps"] == self.total_steps:
            self.approach = Approach(**state["approach"]) if state["approach"] else None
            return False
        remaining = max(1, self.total_steps - step)
        share = math.ceil(self._warmup_share * remaining) if math.isfinite(remaining) else 0
        length = int(min(remaining, max(LEAST_APPROACH, share)))
        self.approach = None if math.isclose(self.curve(step), factor) else Approach(step, factor, length)
        return self.approach is not None


def make_schedule(optimizer: Optimizer, rate: Rate) -> LambdaLR:
    """Returns torch's schedule for `rate`, with one update per optimizer step."""
    # A plain function: torch would save every attribute of another callable object in the checkpoint.
    return LambdaLR(optimizer, lambda step: rate.factor(step))


def resume_schedule(optimizer: Optimizer, schedule: LambdaLR, rate: Rate, state: dict[str, Any]) -> None:
    """Restores the `state` of `rate` from a checkpoint, after torch has restored the optimizer and the schedule."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if rate.resume(state, schedule.last_epoch, rates[0] / schedule.base_lrs[0]):
        for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = base * rate.factor(schedule.last_epoch)
