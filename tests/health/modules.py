"""A small LightningModule and its data for the tests of the callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lion_pytorch import Lion
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

ROWS, FEATURES = 4, 6


class Sample(NamedTuple):
    """One batch: inputs (B, 6), targets (B, 1), indices (B,)."""

    inputs: Tensor
    targets: Tensor
    indices: Tensor


class Samples(Dataset):
    """Random numbers, the same every time; sample i has index i."""

    def __init__(self, count: int = 64) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(count, FEATURES, generator=generator)
        self.targets = torch.randn(count, 1, generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.inputs[index], self.targets[index], torch.tensor(index))


def adamw_groups(module: nn.Module) -> torch.optim.Optimizer:
    """AdamW with two parameter groups, one with weight decay."""
    tower = list(module.tower.parameters())
    others = [parameter for name, parameter in module.named_parameters() if not name.startswith("tower")]
    groups = [{"params": tower, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.05)


def lion(module: nn.Module) -> torch.optim.Optimizer:
    """Lion with weight decay."""
    return Lion(module.parameters(), lr=0.01, weight_decay=0.1)


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay."""
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)


def fused(module: nn.Module) -> torch.optim.Optimizer:
    """AdamW that divides by the scale of a gradient scaler itself."""
    return torch.optim.AdamW(module.parameters(), lr=0.05, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": adamw_groups,
    "lion": lion,
    "sgd": sgd,
    "fused": fused,
}


class Small(pl.LightningModule):
    """Two layers and a scale; `fault(batch_index, loss)` may spoil the loss."""

    def __init__(
        self, optimizer: str = "adamw", fault: Callable[[int, Tensor], Tensor] | None = None, factor: float = 1.0
    ) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.tower = nn.Sequential(nn.Linear(FEATURES, 5), nn.GELU(), nn.Linear(5, 3))
        self.head = nn.Linear(3, 1)
        self.logit_scale = nn.Parameter(torch.tensor(0.5))
        self.optimizer_name, self.fault, self.factor = optimizer, fault, factor
        self.step_skipped = False
        self.rows: list[dict[str, Any]] = []

    def record(self, values: dict[str, Tensor | float]) -> None:
        """Keeps the row."""
        self.rows.append({key: float(value) for key, value in values.items()} | {"step": self.trainer.global_step + 1})

    def loss(self, batch: Sample) -> Tensor:
        """Mean squared error, times a factor."""
        return (
            self.factor * (self.head(self.tower(batch.inputs)) * self.logit_scale.exp() - batch.targets).square().mean()
        )

    def training_step(self, batch: Sample, batch_index: int) -> Tensor:
        loss = self.loss(batch)
        return self.fault(batch_index, loss) if self.fault else loss

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """A skipped step leaves the learning rate where it was."""
        if not self.step_skipped:
            super().lr_scheduler_step(scheduler, metric)
        self.step_skipped = False

    def configure_optimizers(self) -> dict:
        optimizer = OPTIMIZERS[self.optimizer_name](self)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loader(count: int = 64) -> DataLoader:
    """Batches of four in order."""
    return DataLoader(Samples(count), batch_size=ROWS)


def trainer(callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    """A Trainer on the CPU without output and files."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**({"accelerator": "cpu", "max_epochs": 1, "callbacks": callbacks} | quiet | options))
