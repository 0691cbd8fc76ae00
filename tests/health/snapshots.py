"""Takes snapshots of everything that an optimizer step may change, and compares them bit for bit."""

from __future__ import annotations

import copy
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback


def snapshot(trainer, module) -> dict[str, Any]:
    """Copies the parameters, the optimizer's state and hyperparameters, and the learning rates."""
    optimizer = trainer.optimizers[0]
    return {
        "parameters": {name: parameter.detach().clone() for name, parameter in module.named_parameters()},
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "rates": [group["lr"] for group in optimizer.param_groups],
    }


def same(a: Any, b: Any) -> bool:
    """Returns whether two nested snapshots are bit-identical."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


class ChangeRecorder(Callback):
    """Records whether each optimizer step changed anything, the learning rate before each step, and whether the
    parameters stayed finite.
    """

    def __init__(self) -> None:
        self.changed: list[bool] = []
        self.rates: list[float] = []
        self.finite = True
        self.before: dict[str, Any] | None = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.before = snapshot(trainer, pl_module)
            self.rates.append(self.before["rates"][0])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            self.changed.append(not same(self.before, snapshot(trainer, pl_module)))
        self.finite &= all(bool(torch.isfinite(parameter).all()) for parameter in pl_module.parameters())
