"""Optimizers and learning-rate schedules from their configuration. torch only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lion_pytorch import Lion
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model.config.schema import OptimizerConfig, ScheduleConfig
from model.errors import ConfigError

# What weight decay would pull away from its meaning: the matrix P starts as, and hovers around, the identity.
NOT_DECAYED = ("projection.matrix",)
# Steps from the old rate to the new curve, at least: as many as AdamW's and Lion's mean of gradients remembers (1 / (1
# - 0.9)).
LEAST_APPROACH = 10


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
    """Matrices and embeddings with weight decay; biases, norms, scales and P without. Frozen parameters are left
    out.
    """
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    decayed = [p for name, p in trained if p.ndim >= 2 and not name.endswith(NOT_DECAYED)]
    others = [p for name, p in trained if p.ndim < 2 or name.endswith(NOT_DECAYED)]
    groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def adamw(groups: list[dict], config: OptimizerConfig) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019), the vectorised implementation."""
    return AdamW(groups, lr=config.lr, betas=tuple(config.betas), eps=config.eps, foreach=True)


def lion(groups: list[dict], config: OptimizerConfig) -> Optimizer:
    """Lion (Chen et al. 2023)."""
    return Lion(groups, lr=config.lr, betas=tuple(config.betas))


OPTIMIZERS: dict[str, Callable[[list[dict], OptimizerConfig], Optimizer]] = {"adamw": adamw, "lion": lion}


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer of every trained parameter of `module`."""
    return OPTIMIZERS[config.name](parameter_groups(module.named_parameters(), config.weight_decay), config)


class Plateau:
    """A factor on the learning rate that is cut when the epoch's mean loss stops falling (as torch's ReduceLROnPlateau
    decides).
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.scale, self.best, self.waited = 1.0, math.inf, 0

    def end_epoch(self, loss: float) -> None:
        """`loss`: the epoch's mean."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.scale, self.waited = self.scale * self.factor, 0

    def state_dict(self) -> dict[str, float]:
        """Plain numbers."""
        return {"scale": self.scale, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """What `state_dict` gave."""
        self.scale, self.best, self.waited = state["scale"], state["best"], int(state["waited"])


@dataclass(frozen=True)
class Approach:
    """A straight way from the rate that a run had to the curve of a schedule with another number of steps."""

    start: int
    """Updates of the schedule before the first step of the way."""
    factor: float
    """On `optimizer.lr`, at the start."""
    length: int
    """Steps until the curve is reached."""

    def factor_at(self, step: int, curve: float) -> float:
        """The factor at `step`, where the curve has the value `curve`."""
        share = min(1.0, (step - self.start + 1) / self.length)
        return curve if share == 1.0 else self.factor + (curve - self.factor) * share


class Rate:
    """Step -> factor on `optimizer.lr`. When the number of steps changes, the warm-up stays what it was, and the rate
    goes to the new curve without a jump.
    """

    def __init__(self, config: ScheduleConfig, total_steps: float, plateau: Plateau | None) -> None:
        """total_steps: infinite where it is not known. Raises ConfigError when the schedule needs to know it."""
        bounded = math.isfinite(total_steps)
        if not bounded and (config.warmup > 0 or config.name == "cosine"):
            raise ConfigError(
                f"schedule={config.name} needs the number of steps; allowed: trainer.max_steps or trainer.max_epochs "
                f"beside it"
            )
        self.config, self.total_steps, self.plateau = config, total_steps, plateau
        self.warmup = math.ceil(config.warmup * total_steps) if bounded else 0
        self.approach: Approach | None = None

    def factor(self, step: int) -> float:
        """The factor after `step` updates."""
        curve = self.curve(step)
        return curve if self.approach is None else self.approach.factor_at(step, curve)

    def curve(self, step: int) -> float:
        """What the schedule says for a run that always had this number of steps."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.config.name == "cosine":
            done = min(1.0, (step - self.warmup) / max(1, self.total_steps - self.warmup))
            return self.config.final + (1 - self.config.final) * (1 + math.cos(math.pi * done)) / 2
        return self.plateau.scale if self.plateau else 1.0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "total_steps": self.total_steps,
            "warmup": self.warmup,
            "approach": asdict(self.approach) if self.approach else None,
        }

    def go_on(self, state: dict[str, Any], step: int, factor: float) -> bool:
        """Takes up what `state_dict` gave after `step` updates, when the factor was `factor`. Returns whether the
        factor is another one now, because the number of steps has changed.
        """
        self.warmup = state["warmup"]
        if state["total_steps"] == self.total_steps:
            self.approach = Approach(**state["approach"]) if state["approach"] else None
            return False
        left = max(1, self.total_steps - step)
        share = math.ceil(self.config.warmup * left) if math.isfinite(left) else 0
        self.approach = (
            None
            if math.isclose(self.curve(step), factor)
            else Approach(step, factor, int(min(left, max(LEAST_APPROACH, share))))
        )
        return self.approach is not None


def make_schedule(optimizer: Optimizer, rate: Rate) -> LambdaLR:
    """One update per optimizer step."""
    # A function: of other objects torch would keep every attribute in the checkpoint.
    return LambdaLR(optimizer, lambda step: rate.factor(step))


def resume_schedule(optimizer: Optimizer, schedule: LambdaLR, rate: Rate, state: dict[str, Any]) -> None:
    """Takes up the checkpoint's `state` of `rate`, when torch has restored optimizer and schedule."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if rate.go_on(state, schedule.last_epoch, rates[0] / schedule.base_lrs[0]):
        for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = base * rate.factor(schedule.last_epoch)
