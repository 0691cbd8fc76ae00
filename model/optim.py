"""Optimizers and learning-rate schedules from their configuration. torch only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from lion_pytorch import Lion
from torch import nn
from torch.optim import AdamW, Optimizer

from model.config.schema import OptimizerConfig, ScheduleConfig
from model.errors import ConfigError

# What weight decay would pull away from its meaning: the matrix P starts as, and hovers around, the identity.
NOT_DECAYED = ("projection.matrix",)


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
    """Matrices and embeddings with weight decay; biases, norms, scales and P without. Frozen parameters are left out."""
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
    """A factor on the learning rate that is cut when the epoch's mean loss stops falling (as torch's ReduceLROnPlateau decides)."""

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


def rate_factor(config: ScheduleConfig, total_steps: float, plateau: Plateau | None) -> Callable[[int], float]:
    """Step -> factor on `optimizer.lr`. Raises ConfigError when the schedule needs to know the number of steps and there is none."""
    bounded = math.isfinite(total_steps)
    if not bounded and (config.warmup > 0 or config.name == "cosine"):
        raise ConfigError(f"schedule={config.name} needs the number of steps; allowed: trainer.max_steps or trainer.max_epochs beside it")
    warmup = math.ceil(config.warmup * total_steps) if bounded else 0

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.name == "cosine":
            done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
            return config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2
        return plateau.scale if plateau else 1.0

    return factor


def make_schedule(optimizer: Optimizer, factor: Callable[[int], float]) -> torch.optim.lr_scheduler.LambdaLR:
    """One update per optimizer step."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
