"""Measures what gradient health costs, as ratios within one process. Needs about 2 GB.

python -m tests.benchmarks.gradient_health            # checking and clipping gradients of the size of CLIP ViT-B/32
python -m tests.benchmarks.gradient_health --step     # also a training step with backbone=vit_b_32 (minutes)
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import CLIPConfig, CLIPModel

from model.build import make_data, make_module
from model.config.compose import CONF, from_hydra, register_schemas
from model.config.schema import RunConfig
from model.health import GradientHealthMonitor, HealthSettings
from model.health.callback import GradientHealthCallback
from model.record.callbacks import MetricsCallback
from model.views.backbone_sizes import resolved_sizes
from tests.health.modules import trainer

Calls = dict[str, Callable[[], object]]


def clip_sized(device: str) -> nn.ParameterList:
    """Returns parameters with the shapes of CLIP ViT-B/32 and random gradients."""
    with torch.device("meta"):
        shapes = [parameter.shape for parameter in CLIPModel(CLIPConfig()).parameters()]
    parameters = nn.ParameterList([nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes])
    generator = torch.Generator(device).manual_seed(0)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, device=device, generator=generator)
    return parameters


def interleaved(calls: Calls, rounds: int, synchronise: Callable[[], None]) -> dict[str, float]:
    """Returns the median seconds of each call. The calls alternate, so that a busy machine slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            synchronise()
            start = time.perf_counter()
            call()
            synchronise()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def check_and_clip(device: str, rounds: int) -> dict[str, float]:
    """Returns the medians of torch's clipping, of the monitor's check, and of its check with clipping.

    torch multiplies the gradients whether or not their norm is above the bound.
    """
    parameters = clip_sized(device)
    monitor = GradientHealthMonitor(model=parameters)
    norm = monitor.check_gradients()["global_grad_norm"] / 2

    def clip_with_torch() -> None:
        torch.nn.utils.clip_grad_norm_(parameters.parameters(), norm)

    def check_then_clip() -> None:
        monitor.check_gradients()
        monitor.apply_gradient_clipping(max_norm=norm)

    def synchronise() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    gc.disable()
    calls: Calls = {
        "clip_grad_norm_": clip_with_torch,
        "check_gradients": monitor.check_gradients,
        "check and clip": check_then_clip,
    }
    return interleaved(calls, rounds, synchronise)


class AlternatingMonitor(GradientHealthCallback):
    """Works at every second step only, and measures the time of the steps and of its own work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(HealthSettings(), folder)
        self.with_monitor: list[float] = []
        self.without_monitor: list[float] = []
        self.work: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.start, self.spent = time.perf_counter(), 0.0
        if batch_idx % 2:
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
            self.spent = time.perf_counter() - self.start

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if trainer.global_step % 2:
            super().on_before_backward(trainer, pl_module, loss)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step % 2:
            start = time.perf_counter()
            super().on_before_optimizer_step(trainer, pl_module, optimizer)
            self.spent += time.perf_counter() - start

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        (self.with_monitor if batch_idx % 2 else self.without_monitor).append(time.perf_counter() - self.start)
        if batch_idx % 2:
            self.work.append(self.spent)


def step_config(steps: int, batch_size: int) -> RunConfig:
    """Returns the configuration of a run of `steps` steps with backbone=vit_b_32."""
    overrides = [
        "backbone=vit_b_32",
        "model=clip",
        "loss=stock",
        f"data.batch_size={batch_size}",
        "data.vocab_size=300",
        f"data.train_size={batch_size * steps}",
        f"trainer.max_steps={steps}",
    ]
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return from_hydra(compose("train", overrides))


def training_step(steps: int, batch_size: int) -> dict[str, float]:
    """Returns the medians of a training step without and with the monitor, and of the monitor's own work."""
    config = step_config(steps, batch_size)
    with tempfile.TemporaryDirectory() as folder:
        sizes = resolved_sizes(config.backbone)
        data = make_data(config, sizes, Path(folder), None)
        monitor = AlternatingMonitor(Path(folder))
        training = trainer(
            [monitor, MetricsCallback(Path(folder) / "metrics.csv")],
            max_steps=steps,
            accelerator="auto",
            limit_val_batches=0,
        )
        training.fit(make_module(config, sizes, data), datamodule=data)
    seconds = {"step without": monitor.without_monitor, "step with": monitor.with_monitor, "monitor": monitor.work}
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def main() -> None:
    """Prints the times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", action="store_true", help="also measure a training step of backbone=vit_b_32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="one varies less where other programs run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, CLIP ViT-B/32 gradients")
    figures = check_and_clip(device, arguments.rounds)
    for name, seconds in figures.items():
        print(f"{name:16} {1e3 * seconds:8.2f} ms  {seconds / figures['clip_grad_norm_']:.2f} of clip_grad_norm_")
    if arguments.step:
        figures = training_step(arguments.steps, arguments.batch_size)
        for name, seconds in figures.items():
            print(f"{name:16} {1e3 * seconds:8.1f} ms")
        without, difference = figures["step without"], figures["step with"] - figures["step without"]
        print(
            f"slower by {100 * difference / without:.2f} %; the monitor's own work is "
            f"{100 * figures['monitor'] / without:.2f} % of a step"
        )


if __name__ == "__main__":
    main()
