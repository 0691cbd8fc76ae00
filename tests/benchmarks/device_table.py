"""Prints the time and the memory of every loss on a GPU as a table in Markdown, called by tests/benchmarks/losses.py.

A row is a loss at a batch size: forward and backward for all views and the scale, in float32. The time is the median of
calls that alternate with the matrix products that the loss cannot do without, so that both see the same clock of the
device. `F.cross_entropy` of two normalised views, plain and compiled, is timed in the same way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.losses import make_loss
from tests.benchmarks.timing import interleaved, machine, seconds

VIEWS = 6
SCALE = 1 / 0.07
# Losses that read two views; those that need a product of every two views; all others need one product a view.
TWO_VIEWS = ("base", "stock", "siglip")
BY_PAIRS = ("normsv5", "stable_norm", "gram", "pairwise_clip")
LOSSES = ("stock", "siglip", "pairwise_clip", "einsum", "symile", "norms", "normsv5", "gram", "loss1", "loss4")
HEADER = "| B | loss | ms | time / products | peak MiB |\n|---|---|---|---|---|"
# A call of a loss is expected to take 16 times as long for a batch of 4 times as many rows. One that would take longer
# than this is left out; the others are repeated until their calls have taken about this time, but at least once.
MOST_SECONDS = 5.0
REPEATED_SECONDS = 2.0
Step = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What all rows of a table have in common."""

    device: str
    features: int
    backend: str
    memory_mib: int | None
    rounds: int


def draw(setting: Setting, views: int, rows: int) -> list[Tensor]:
    """Returns random views (B, F) that require gradients."""
    generator = torch.Generator(setting.device).manual_seed(0)
    shape = views, rows, setting.features
    return [x.clone().requires_grad_() for x in torch.randn(shape, generator=generator, device=setting.device)]


def with_gradients(loss: Callable[[list[Tensor], Tensor], Tensor], views: list[Tensor]) -> Step:
    """Returns a function that evaluates a loss and its gradients once."""
    scale = torch.tensor(SCALE, device=views[0].device, requires_grad=True)

    def once() -> None:
        for x in (*views, scale):
            x.grad = None
        loss(views, scale).backward()

    return once


def cross_entropy(views: Sequence[Tensor], scale: Tensor) -> Tensor:
    """Returns the loss of CLIP for two views, in plain operations."""
    first, second = (functional.normalize(view, dim=-1) for view in views)
    logits = scale * first @ second.T
    matches = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, matches) + functional.cross_entropy(logits.T, matches)) / 2


def products(name: str) -> int:
    """Returns the number of matrix products (B, F) by (F, B) that the forward of a loss cannot do without."""
    if name in TWO_VIEWS or name.startswith("F.cross_entropy"):
        return 1
    return VIEWS * (VIEWS - 1) // 2 if name in BY_PAIRS else VIEWS


def floor(setting: Setting, rows: int, count: int) -> Step:
    """Returns a function that does `count` products forward, and two backward for each."""
    a, b = (x.detach() for x in draw(setting, 2, rows))
    grad = a @ b.T

    def once() -> None:
        for _ in range(count):
            torch.mm(a, b.T, out=grad)
            grad @ b
            grad.T @ a

    return once


def peak_mib(step: Step) -> str:
    """Returns the MiB that a call takes on a GPU above what is allocated before it; a dash on a CPU."""
    if not torch.cuda.is_available():
        return "–"
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"


def step_of(name: str, setting: Setting, rows: int) -> Step:
    """Returns a function that evaluates the loss of a row of the table."""
    if name.startswith("F.cross_entropy"):
        function = torch.compile(cross_entropy) if name.endswith("compiled") else cross_entropy
        return with_gradients(function, draw(setting, 2, rows))
    loss = make_loss(name, backend=setting.backend, memory_mib=setting.memory_mib, views=VIEWS, batch_size=rows)
    views = draw(setting, 2 if name in TWO_VIEWS else VIEWS, rows)
    return with_gradients(loss.to(setting.device), views)


def measured(name: str, setting: Setting, rows: int) -> tuple[float, float, str]:
    """Returns the seconds of a call, those of the products that it cannot do without, and the peak memory."""
    step = step_of(name, setting, rows)
    step()
    least = floor(setting, rows, products(name))
    least()
    peak, once = peak_mib(step), seconds(step)
    if once > REPEATED_SECONDS / 4:
        return once, seconds(least), peak
    rounds = max(1, min(setting.rounds, int(REPEATED_SECONDS / once)))
    times = interleaved({"loss": step, "floor": least}, rounds)
    return times["loss"], times["floor"], peak


def print_table(names: Sequence[str], sizes: Sequence[int], setting: Setting) -> None:
    """Prints the table for some losses and batch sizes. A cell has the words for a loss that needs more memory than
    there is, or more time than MOST_SECONDS.
    """
    print(f"{machine()}\n\n{VIEWS} views of {setting.features} features, loss.backend={setting.backend}\n\n{HEADER}")
    expected: dict[str, float] = {}
    for rows in sorted(sizes):
        for name in ("F.cross_entropy", "F.cross_entropy compiled", *names):
            cells = [f"not run: about {expected.get(name, 0):.0f} s a call", "–", "–"]
            if expected.get(name, 0) <= MOST_SECONDS:
                try:
                    time, least, peak = measured(name, setting, rows)
                    expected[name] = 16 * time
                    cells = [f"{1e3 * time:.2f}", f"{time / least:.2f}", peak]
                except torch.OutOfMemoryError:
                    cells = ["out of memory", "–", "–"]
            print(f"| {rows} | `{name}` | {' | '.join(cells)} |", flush=True)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
