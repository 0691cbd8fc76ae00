"""What gradient health costs, as ratios within one process. Needs about 2 GB.

python -m tests.benchmarks.gradient_health            # check and clip, on gradients of the size of CLIP ViT-B/32
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

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from model.health import GradientHealthMonitor

Timed = dict[str, Callable[[], object]]


def clip_sized(device: str) -> nn.ParameterList:
    """Parameters of the shapes of CLIP ViT-B/32 with random gradients."""
    with torch.device("meta"):
        shapes = [parameter.shape for parameter in CLIPModel(CLIPConfig()).parameters()]
    parameters = nn.ParameterList([nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes])
    generator = torch.Generator(device).manual_seed(0)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, device=device, generator=generator)
    return parameters


def interleaved(calls: Timed, rounds: int, settle: Callable[[], None]) -> dict[str, float]:
    """Name -> median seconds; the calls take turns, so that a busy machine slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            settle()
            start = time.perf_counter()
            call()
            settle()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def check_and_clip(device: str, rounds: int) -> dict[str, float]:
    """Medians of torch's clipping alone, our check, and our check with clipping; torch multiplies whether or not the
    norm is above.
    """
    parameters = clip_sized(device)
    monitor = GradientHealthMonitor(model=parameters)

    def torchs() -> None:
        torch.nn.utils.clip_grad_norm_(parameters.parameters(), norm)

    def ours() -> None:
        monitor.check_gradients()
        monitor.apply_gradient_clipping(max_norm=norm)

    def settle() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    norm = monitor.check_gradients()["global_grad_norm"] / 2
    calls: Timed = {"clip_grad_norm_": torchs, "check_gradients": monitor.check_gradients, "check and clip": ours}
    gc.disable()
    return interleaved(calls, rounds, settle)


def training_step(steps: int, batch_size: int) -> dict[str, float]:
    """Medians of a training step of backbone=vit_b_32, with the monitor at every other step, and of the monitor's share
    of it.
    """
    from hydra import compose, initialize_config_dir

    from model.build import make_data, make_module
    from model.config.compose import CONF, from_hydra, register_schemas
    from model.health import HealthSettings
    from model.health.callback import GradientHealthCallback
    from model.record.callbacks import MetricsCallback
    from model.views.backbone_sizes import resolved_sizes
    from tests.health.modules import trainer

    class Alternating(GradientHealthCallback):
        """Works at every second step only, and takes the time of its work and of the steps."""

        def __init__(self, folder: Path) -> None:
            super().__init__(HealthSettings(), folder)
            self.on, self.off, self.work = [], [], []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            self.began, self.spent = time.perf_counter(), 0.0
            if batch_idx % 2:
                super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
                self.spent = time.perf_counter() - self.began

        def on_before_backward(self, trainer, pl_module, loss) -> None:
            if trainer.global_step % 2:
                super().on_before_backward(trainer, pl_module, loss)

        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            if trainer.global_step % 2:
                start = time.perf_counter()
                super().on_before_optimizer_step(trainer, pl_module, optimizer)
                self.spent += time.perf_counter() - start

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            whole = time.perf_counter() - self.began
            (self.on if batch_idx % 2 else self.off).append(whole)
            if batch_idx % 2:
                self.work.append(self.spent)

    overrides = [
        "backbone=vit_b_32",
        "model=clip",
        f"data.batch_size={batch_size}",
        "data.vocab_size=300",
        f"data.train_size={batch_size * steps}",
    ]
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"), tempfile.TemporaryDirectory() as folder:
        config = from_hydra(compose("train", [*overrides, "loss=stock", f"trainer.max_steps={steps}"]))
        sizes = resolved_sizes(config.backbone)
        data = make_data(config, sizes, Path(folder), None)
        callback = Alternating(Path(folder))
        training = trainer(
            [callback, MetricsCallback(Path(folder) / "metrics.csv")],
            max_steps=steps,
            accelerator="auto",
            limit_val_batches=0,
        )
        training.fit(make_module(config, sizes, data), datamodule=data)
    taken = {"step without": callback.off, "step with": callback.on, "monitor": callback.work}
    return {name: statistics.median(seconds[2:]) for name, seconds in taken.items()}


def main() -> None:
    """Prints the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--step", action="store_true", help="also a training step of backbone=vit_b_32")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--steps", type=int, default=16)
    options.add_argument("--batch-size", type=int, default=16)
    options.add_argument("--threads", type=int, default=1, help="one is steadier where others use the machine")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, CLIP ViT-B/32 gradients")
    figures = check_and_clip(device, given.rounds)
    for name, seconds in figures.items():
        print(f"{name:16} {1e3 * seconds:8.2f} ms  {seconds / figures['clip_grad_norm_']:.2f} of clip_grad_norm_")
    if given.step:
        figures = training_step(given.steps, given.batch_size)
        for name, seconds in figures.items():
            print(f"{name:16} {1e3 * seconds:8.1f} ms")
        without, slower = figures["step without"], figures["step with"] - figures["step without"]
        print(
            f"slower by {100 * slower / without:.2f} %; the monitor's own work is "
            f"{100 * figures['monitor'] / without:.2f} % of a step"
        )


if __name__ == "__main__":
    main()
