"""Trains in one of two processes, with faults in one of them, and writes the results. test_processes.py runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import nn
from torch.distributed.tensor import distribute_tensor, init_device_mesh
from torch.distributed.tensor.placement_types import Shard
from torch.utils.data import DataLoader, DistributedSampler

from model.health import GradientHealthMonitor, HealthSettings, TrainingHalted
from model.health.callback import GradientHealthCallback
from tests.health.faults import FAULTS
from tests.health.modules import ROWS, Samples, Small, trainer
from tests.health.snapshots import ChangeRecorder


def own_half() -> DataLoader:
    """Returns every second sample, in order, in batches of four."""
    samples = Samples()
    return DataLoader(
        samples, batch_size=ROWS, sampler=DistributedSampler(samples, 2, int(os.environ["LOCAL_RANK"]), shuffle=False)
    )


def run(
    name: str, folder: Path, *, settings: HealthSettings, rank: int, batches: set[int], kind: str = "nan", **options
) -> dict:
    """Returns what one fit did in this process. The fault occurs in `batches` of process `rank` only."""

    def fault(index, loss):
        bad = module.trainer.global_rank == rank and index in batches
        return FAULTS[kind](loss) if bad else loss

    module, recorder = Small("lion" if name == "lion" else "adamw", fault), ChangeRecorder()
    callback = GradientHealthCallback(settings, folder / name)
    (folder / name).mkdir(exist_ok=True)
    halted = ""
    training = trainer([recorder, callback], devices=2, strategy="ddp", use_distributed_sampler=False, **options)
    try:
        training.fit(module, own_half())
    except TrainingHalted as error:
        halted = str(error)
    weights = torch.cat([parameter.detach().double().flatten() for parameter in module.parameters()])
    skipped = [step for step, changed in enumerate(recorder.changed) if not changed]
    return {
        "skipped": skipped,
        "steps": len(recorder.changed),
        "counts": callback.counts,
        "halted": halted,
        "weights": weights.tolist(),
    }


def sharded_norm() -> list[float]:
    """Returns the global norm before and after clipping of a gradient that both processes share: rows 3, 3, 4, 4."""
    mesh = init_device_mesh("cpu", (2,))
    net = nn.Module()
    net.weight = nn.Parameter(distribute_tensor(torch.zeros(4, 1), mesh, [Shard(0)]))
    net.weight.grad = distribute_tensor(torch.tensor([[3.0], [3.0], [4.0], [4.0]]), mesh, [Shard(0)])
    monitor = GradientHealthMonitor(model=net)
    norm = monitor.check_gradients()["global_grad_norm"]
    monitor.apply_gradient_clipping(max_norm=1.0)
    return [norm, monitor.check_gradients()["global_grad_norm"]]


def main(folder: Path) -> None:
    """Runs all cases in turn, in the same two processes."""
    torch.set_num_threads(1)
    skip, halt, few_skips = (
        HealthSettings(every_n_steps=1),
        HealthSettings(on_nonfinite="halt"),
        HealthSettings(max_skips=2, clip=0.5),
    )
    half = {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=64.0))]}
    results = {
        "nan": run("nan", folder, settings=skip, rank=1, batches={0, 3}),
        "inf": run("inf", folder, settings=skip, rank=0, batches={0, 7}, kind="inf"),
        "lion": run("lion", folder, settings=skip, rank=0, batches={2}),
        "loss_alone": run("loss_alone", folder, settings=skip, rank=1, batches={4}, kind="inf_loss_alone"),
        "gradient_alone": run("gradient_alone", folder, settings=skip, rank=1, batches={4}, kind="nan_gradient_alone"),
        "window": run("window", folder, settings=skip, rank=1, batches={5}, accumulate_grad_batches=4),
        "half": run("half", folder, settings=skip, rank=1, batches={1}, **half),
        "bfloat16": run("bfloat16", folder, settings=skip, rank=0, batches={1}, precision="bf16-mixed"),
        "halt": run("halt", folder, settings=halt, rank=1, batches={2}),
        "halt_gradient": run("halt_gradient", folder, settings=halt, rank=0, batches={2}, kind="nan_gradient_alone"),
        "too_many": run("too_many", folder, settings=few_skips, rank=1, batches={3, 4, 5, 6}),
        "sharded": sharded_norm(),
    }
    rank = torch.distributed.get_rank()
    (folder / f"results_{rank}.json").write_text(json.dumps(results))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
