"""Compares the training step of this checkout with that of another one.

    python -m tests.benchmarks.training_step OTHER_CHECKOUT [--blocks N] [--steps N] [overrides ...]

Each checkout trains in a process of its own, with its own code, the same configuration, data and seed. The processes
take turns: one makes a block of steps while the other waits, so that a busy machine slows both alike. A step includes
the loading of its batch, the loss, the gradient monitor, the optimizer and Lightning. The first block is not counted.

The output is the machine, the median and the least milliseconds of a step over the blocks, the ratios of this checkout
to the other (of pairs: the median ratio of neighbouring blocks), and the largest relative difference of their losses
over all steps. CPU is the time of all threads. With the variable OMP_NUM_THREADS=1, it hardly depends on what else the
machine does. Without overrides, the configuration is that of `python train.py loss=normsv5 monitor.clip=1.0`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from unittest import mock

import pytorch_lightning as pl
import torch

HERE = Path(__file__).resolve()
DEFAULTS = ("loss=normsv5", "monitor.clip=1.0")
# What every measured run has: nothing is drawn or analysed, and no run ends before the last block.
FIXED = ("trainer.enable_progress_bar=false", "report=false", "analysis=off", "trainer.max_epochs=1000")


@dataclass
class Checkout:
    """A checkout of the project whose process trains in blocks of steps."""

    name: str
    process: subprocess.Popen[str]
    errors: IO[str]
    seconds: list[float] = field(default_factory=list)
    """Mean seconds of a step, for each counted block."""
    cpu_seconds: list[float] = field(default_factory=list)
    """Mean seconds of a step that all threads were busy, for each counted block."""
    losses: list[float] = field(default_factory=list)
    """The loss of every step."""

    def block(self, steps: int, *, counted: bool) -> None:
        """Lets the process make `steps` steps, and waits for them."""
        self._send(steps)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.name} ended early:\n{self.errors.read()[-4000:]}")
        figures = json.loads(line)
        self.losses += figures["losses"]
        if counted:
            self.seconds.append(figures["seconds"] / steps)
            self.cpu_seconds.append(figures["cpu_seconds"] / steps)

    def end(self) -> None:
        """Ends the process."""
        if self.process.poll() is None:
            self._send(0)
        self.process.wait()

    def _send(self, steps: int) -> None:
        """Requests a block of `steps` steps; 0 ends the process."""
        if self.process.stdin is not None and self.process.poll() is None:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()


@contextmanager
def checkout(name: str, root: Path, overrides: list[str]) -> Iterator[Checkout]:
    """Starts the process of the checkout at `root` for the length of the block."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(HERE), "--train-in", folder, *overrides],
            env=os.environ | {"PYTHONPATH": str(root)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        started = Checkout(name, process, errors)
        try:
            yield started
        finally:
            started.end()


def compare(other: Path, overrides: list[str], blocks: int, steps: int) -> tuple[Checkout, Checkout]:
    """Returns the figures of this checkout and of the other one after `blocks` counted blocks of each."""
    root = HERE.parents[2]
    with checkout("this", root, overrides) as ours, checkout("other", other, overrides) as theirs:
        for number in range(blocks + 1):
            for one in (ours, theirs) if number % 2 else (theirs, ours):
                one.block(steps, counted=number > 0)
        return ours, theirs


def largest_difference(losses: list[float], others: list[float]) -> tuple[float, int]:
    """Returns the largest relative difference of two losses of the same step, and the step, counted from 1."""
    differences = [abs(a - b) / abs(b) if b else abs(a - b) for a, b in zip(losses, others, strict=True)]
    return max((difference, step) for step, difference in enumerate(differences, 1))


def row(name: str, figures: list[float]) -> str:
    """Returns a line with the median and the least of seconds, in milliseconds."""
    return f"{name:<26} median {1e3 * statistics.median(figures):7.1f} ms  least {1e3 * min(figures):7.1f} ms"


def ratios(name: str, figures: list[float], others: list[float]) -> str:
    """Returns a line with the ratios of the medians, of the least, and of neighbouring blocks."""
    neighbours = statistics.median(a / b for a, b in zip(figures, others, strict=True))
    medians = statistics.median(figures) / statistics.median(others)
    return f"{name:<26} ratio {medians:.3f}  of the least {min(figures) / min(others):.3f}  of pairs {neighbours:.3f}"


def report(ours: Checkout, theirs: Checkout) -> str:
    """Returns the lines that the benchmark prints."""
    difference, step = largest_difference(ours.losses, theirs.losses)
    return "\n".join(
        [
            *(row(f"{one.name}, step", one.seconds) for one in (ours, theirs)),
            *(row(f"{one.name}, CPU", one.cpu_seconds) for one in (ours, theirs)),
            ratios("step", ours.seconds, theirs.seconds),
            ratios("CPU", ours.cpu_seconds, theirs.cpu_seconds),
            f"largest relative difference of {len(ours.losses)} losses: {difference:.1e} (step {step})",
        ]
    )


class Finished(Exception):
    """The last block has been made."""


class Blocks(pl.Callback):
    """Waits for a command before each block of steps, and reports each block on the standard output of the process."""

    def __init__(self, output: IO[str]) -> None:
        self.output, self.remaining = output, 0
        self.losses: list[torch.Tensor] = []
        self.began, self.cpu_began = 0.0, 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Ends a block and begins the next, if this step is the first of a block."""
        if self.remaining == 0:
            self._report()
            self.remaining = int(sys.stdin.readline() or 0)
            if self.remaining == 0:
                raise Finished
            self.began, self.cpu_began = time.perf_counter(), time.process_time()
        self.remaining -= 1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keeps the loss of the step."""
        self.losses.append(outputs["loss"] if isinstance(outputs, dict) else outputs)

    def _report(self) -> None:
        """Writes the figures of the block that has ended, if any."""
        if self.losses:
            losses = [float(loss) for loss in self.losses]  # waits for the device
            seconds, cpu_seconds = time.perf_counter() - self.began, time.process_time() - self.cpu_began
            figures = {"seconds": seconds, "cpu_seconds": cpu_seconds, "losses": losses}
            print(json.dumps(figures), file=self.output, flush=True)
            self.losses = []


def train(folder: Path, overrides: list[str]) -> None:
    """Trains with the code on PYTHONPATH, in blocks of steps as the standard input says."""
    import model.run
    from model.config.compose import composed_run

    make_session, blocks = model.run.make_session, Blocks(sys.stdout)

    def with_blocks(*arguments: Any) -> Any:
        session = make_session(*arguments)
        session.trainer.callbacks.append(blocks)
        return session

    with redirect_stdout(sys.stderr), mock.patch.object(model.run, "make_session", with_blocks):
        try:
            model.run.run(composed_run(overrides), folder)
        except Finished:
            return


def main() -> None:
    """Reads the arguments, and compares two checkouts or trains in one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", type=Path, help="the root of the other checkout")
    parser.add_argument("overrides", nargs="*", default=[], help="overrides of the configuration, as of train.py")
    parser.add_argument("--blocks", type=int, default=12, help="counted blocks of each checkout (default: 12)")
    parser.add_argument("--steps", type=int, default=8, help="steps of a block (default: 8)")
    arguments = parser.parse_args()
    from tests.benchmarks.timing import machine

    print(machine())
    overrides = [*(arguments.overrides or DEFAULTS), *FIXED]
    print(report(*compare(arguments.other.resolve(), overrides, arguments.blocks, arguments.steps)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train-in"]:
        train(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
