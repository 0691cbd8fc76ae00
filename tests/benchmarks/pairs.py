"""Time and memory of losses beside the same losses written as plain operations, or as their published package.

  python -m tests.benchmarks.pairs stock|siglip|symile|gram|stable_cosine [CHECKOUT …]
  python -m tests.benchmarks.pairs siglip 1024 4096       the batch sizes to measure; the default is 4 to 1024
  python -m tests.benchmarks.pairs gram 1000 features=16  another number of features than 512

CHECKOUT: the root of another checkout of this project, whose loss is measured in the same process. float32, n = 6 views
(stock, siglip: 2), forward and backward for all views and the scale. Figures are ratios to the plain operations:
medians of calls that alternate, minima, and the peak memory of a first step. THREADS=2 (default) measures wall time,
THREADS=1 the process's CPU time. symile needs the extra `bench`. stock is also compared with torch.compile of the plain
operations, on a CPU with a C++ compiler.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from tests.benchmarks.losses import peak
from tests.benchmarks.timing import machine, seconds

SIZES = (4, 16, 64, 128, 256, 1024)
# A function of normalised views and the scale that returns a scalar.
Plain = Callable[[list[Tensor], Tensor], Tensor]


def stock(views: list[Tensor], scale: Tensor) -> Tensor:
    score = views[0] @ views[1].T
    return (match_entropy(score, scale) + match_entropy(score.T, scale)) / 2


def siglip(views: list[Tensor], scale: Tensor) -> Tensor:
    logits = scale * (views[0] @ views[1].T) + BIAS
    return -logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)


BIAS = torch.tensor(-10.0, requires_grad=True)


def symile(views: list[Tensor], scale: Tensor) -> Tensor:
    return importlib.import_module("symile").Symile()(views, scale)


def gram(views: list[Tensor], scale: Tensor) -> Tensor:
    """Minus the volume along the lines of every view, with the inverse of the Gram matrix of the others."""
    x = torch.stack(views, 1)
    full = x @ x.transpose(1, 2) + 1e-6 * torch.eye(len(views))
    losses = []
    for a, own in enumerate(views):
        keep = [k for k in range(len(views)) if k != a]
        rest = full[:, keep][:, :, keep]
        cells = torch.stack([views[k] @ own.T for k in keep], 2)  # (B, B, n - 1)
        projected = ((cells @ torch.linalg.inv(rest)) * cells).sum(2)
        square = torch.linalg.det(rest).unsqueeze(1) * (full[:, a, a] - projected)
        losses.append(match_entropy(-square.clamp(min=1e-30).sqrt(), scale))
    return sum(losses) / len(losses)


def stable_cosine(views: list[Tensor], scale: Tensor) -> Tensor:
    centre = normalize(sum(views), dim=-1)
    product = (torch.stack(views) @ centre.T).prod(0)
    score = product.abs() ** (1 / len(views))
    return (match_entropy(score, scale) + match_entropy(score.T, scale)) / 2


def match_entropy(score: Tensor, scale: Tensor) -> Tensor:
    return cross_entropy(scale * score, torch.arange(len(score)))


PLAIN: dict[str, Plain] = {f.__name__: f for f in (stock, siglip, symile, gram, stable_cosine)}


def loss_of(name: str, checkout: Path | None) -> Callable[[list[Tensor], Tensor], Tensor]:
    """Returns the loss of this checkout, or of another one, whose modules are loaded beside those of this one."""
    own = {key: sys.modules.pop(key) for key in list(sys.modules) if key.split(".")[0] == "model"} if checkout else {}
    sys.path.insert(0, str(checkout or Path(__file__).resolve().parents[2]))
    try:
        return importlib.import_module("model.losses").make_loss(name)
    finally:
        sys.path.pop(0)
        if checkout:
            for key in [key for key in sys.modules if key.split(".")[0] == "model"]:
                del sys.modules[key]
            sys.modules.update(own)


def step(loss: Callable[[list[Tensor], Tensor], Tensor], views: list[Tensor], scale: Tensor) -> None:
    for view in views:
        view.grad = None
    loss(views, scale).backward()


def repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def measure(name: str, rows: int, features: int, checkouts: list[Path]) -> None:
    """Prints the figures for one batch size."""
    generator, n = torch.Generator().manual_seed(0), 2 if name in ("stock", "siglip") else 6
    views = [torch.randn(rows, features, generator=generator).requires_grad_() for _ in range(n)]
    scale = torch.tensor(1 / 0.07, requires_grad=True)
    plain = PLAIN[name]
    losses = {"plain": lambda views, scale: plain([normalize(view, dim=-1) for view in views], scale)}
    if name == "stock":
        losses["torch.compile"] = torch.compile(losses["plain"])
    losses |= {"this": loss_of(name, None), **{str(checkout): loss_of(name, checkout) for checkout in checkouts}}
    for loss in losses.values():  # loads compiled code
        step(loss, views, scale)
    losses |= {"this": loss_of(name, None), **{str(checkout): loss_of(name, checkout) for checkout in checkouts}}
    memory = {key: peak(partial(step, loss, views, scale), views) for key, loss in losses.items()}
    calls = {key: partial(step, loss, views, scale) for key, loss in losses.items()}
    counts = {key: max(1, int(0.005 / seconds(call))) for key, call in calls.items()}
    repeats = 15 if rows < 2048 else 5
    rounds = [{key: seconds(partial(repeat, call, counts[key])) for key, call in calls.items()} for _ in range(repeats)]
    rounds = [{key: total / counts[key] for key, total in row.items()} for row in rounds]
    for key in calls:
        middle, least = (choose(row[key] for row in rounds) for choose in (statistics.median, min))
        base = [choose(row["plain"] for row in rounds) for choose in (statistics.median, min)]
        print(
            f"{name} B = {rows:5} F = {features:4} {key:20} {1000 * middle:9.2f} ms, ratio {middle / base[0]:5.2f}, "
            f"of minima {least / base[1]:5.2f}; {memory[key]:6.1f} MiB, ratio {memory[key] / memory['plain']:5.2f}",
            flush=True,
        )


def main(name: str, *arguments: str) -> None:
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    print(machine())
    features = next((int(x.partition("=")[2]) for x in arguments if x.startswith("features=")), 512)
    checkouts = [Path(x).resolve() for x in arguments if Path(x).is_dir()]
    for rows in [int(x) for x in arguments if x.isdigit()] or SIZES:
        measure(name, rows, features, checkouts)


if __name__ == "__main__":
    main(*sys.argv[1:])
