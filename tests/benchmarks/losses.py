"""Measures what the losses cost: forward and backward for all views and the scale, in float32. Needs a quiet machine.

python -m tests.benchmarks.losses ratio [loss …]     # time and memory beside the matrix products that a loss needs
python -m tests.benchmarks.losses curve [plot.png]   # cost against the batch: lines, the dense definition, the symile
                                                     # package
python -m tests.benchmarks.losses gpu [loss …]       # a table in Markdown for a GPU, B = 256 to 65,536

n = 6 views of F = 512 features. `loss:100` stands for loss.memory_mib=100. With two threads (--threads, the default)
the wall time is measured, with one the CPU time of the process. `gpu --check` runs small sizes on a CPU.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.losses import make_loss
from tests.benchmarks.device_table import LOSSES, Setting, print_table
from tests.benchmarks.timing import machine, seconds

VIEWS, FEATURES = 6, 512
SCALE = 1 / 0.07
# Losses that need the products of every two views; the others need one product a view.
BY_PAIRS = ("normsv5", "stable_norm", "gram")
LEAN_MIB = 100
DEFAULT = ("einsum", "norms", "normsv5", f"normsv5:{LEAN_MIB}", *(f"loss{k}" for k in (1, 3, 4)))
RATIO_LOSSES = (*DEFAULT, "normsv7", "normsv8", "normsv9")
CURVE_SIZES = (4, 6, 8, 10, 16, 32, 64, 128, 256, 512, 1024, 1448, 2048, 2896, 4096, 8192)
# The largest batch of each kind of the curve: a million tuples of the dense definition, and a few seconds of others.
LARGEST = {"dense": 10, "symile": 1024, "loss4": 1024}
GPU_SIZES = tuple(4**k for k in range(4, 9))
Step = Callable[[], object]
Loss = Callable[[list[Tensor], Tensor], Tensor]


def draw(rows: int) -> list[Tensor]:
    """Returns random views (B, F) that require gradients."""
    views = torch.randn(VIEWS, rows, FEATURES, generator=torch.Generator().manual_seed(0))
    return [view.clone().requires_grad_() for view in views]


def step(loss: Loss, views: list[Tensor]) -> Step:
    """Returns a function that evaluates the loss and its gradients once."""
    scale = torch.tensor(SCALE, requires_grad=True)

    def once() -> None:
        for view in views:
            view.grad = None
        loss(views, scale).backward()

    return once


def floor(rows: int, products: int) -> Step:
    """Returns a function that does `products` matrix products forward and two backward for each."""
    a, b, grad = torch.randn(rows, FEATURES), torch.randn(rows, FEATURES), torch.randn(rows, rows)

    def once() -> None:
        for _ in range(products):
            a @ b.T
            grad @ b
            grad.T @ a

    return once


def resident(key: str) -> float:
    """Returns VmRSS or VmHWM (its high-water mark) of this process in MiB; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def peak(call: Step, views: list[Tensor]) -> float:
    """Returns the MiB that one call takes above what is resident before it, gradients of the views included."""
    for view in views:
        view.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier steps left free would hide what this one takes
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def ratio(names: Sequence[str], rows: int, repeats: int) -> None:
    """Prints time and memory of losses, beside the matrix products that each needs."""
    print(f"B = {rows}, medians of {repeats}, interleaved")
    print(f"{'loss':24} {'products ms':>12} {'loss ms':>9} {'ratio':>6} {'peak MiB':>9}")
    for entry in names:
        name, _, memory = entry.partition(":")
        views = draw(rows)
        # `fresh` has kept no memory yet.
        ours, fresh = (step(make_loss(name, memory_mib=int(memory or 200)), views) for _ in range(2))
        least = floor(rows, VIEWS * (VIEWS - 1) // 2 if name in BY_PAIRS else VIEWS)
        ours(), least(), ours()
        pairs = [(seconds(least), seconds(ours)) for _ in range(repeats)]
        del ours
        products, loss = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        share = statistics.median(b / a for a, b in pairs)
        label = name + (" lean" if memory else "")
        print(f"{label:24} {products:12.0f} {loss:9.0f} {share:6.2f} {peak(fresh, views):9.0f}", flush=True)


def symile_package() -> Loss | None:
    """Returns the published package's loss, O(B) sampling; None where it is not installed."""
    try:
        from symile import Symile
    except ImportError:
        return None

    def loss(views: list[Tensor], scale: Tensor) -> Tensor:
        result: Tensor = Symile()([torch.nn.functional.normalize(view, dim=-1) for view in views], scale)
        return result

    return loss


def curve(plot: str | None) -> None:
    """Prints the ms of a step by batch for each kind, and the ratios to the products that a loss needs; draws both."""
    kinds: dict[str, Loss | None] = {f"lines, {name}": make_loss(name) for name in ("einsum", "normsv5", "loss4")}
    kinds |= {f"dense, {name}": make_loss(name, evaluation="dense") for name in ("einsum", "normsv5")}
    kinds["symile package"] = symile_package()
    times: dict[str, dict[int, float]] = {}
    ratios: dict[str, dict[int, float]] = {}
    for kind, loss in kinds.items():
        if loss is None:
            continue
        largest = min((rows for name, rows in LARGEST.items() if name in kind), default=CURVE_SIZES[-1])
        sizes = [rows for rows in CURVE_SIZES if rows <= largest]
        products = {"lines, einsum": VIEWS, "lines, normsv5": VIEWS * (VIEWS - 1) // 2}.get(kind)
        pairs = {rows: point(loss, rows, products or 0) for rows in sizes}
        times[kind] = {rows: 1000 * pair[0] for rows, pair in pairs.items()}
        print(kind, {rows: round(ms, 2) for rows, ms in times[kind].items()}, flush=True)
        if products:
            ratios[kind] = {rows: pair[0] / pair[1] for rows, pair in pairs.items()}
            print("  over the products", {rows: round(ratio, 2) for rows, ratio in ratios[kind].items()}, flush=True)
    if plot is not None:
        draw_curve(times, ratios, plot)


def point(loss: Loss, rows: int, products: int) -> tuple[float, float]:
    """Returns the median seconds of a step, and of `products` matrix products forward and two backward for each, which
    alternate.
    """
    once, least = step(loss, draw(rows)), floor(rows, products)
    once(), least()
    pairs = [(seconds(once), seconds(least)) for _ in range(15 if rows <= 256 else 5 if rows <= 1024 else 3)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def draw_curve(times: Mapping[str, Mapping[int, float]], ratios: Mapping[str, Mapping[int, float]], path: str) -> None:
    """Draws the ms of each kind, and the ratios of some, against the batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for kind, points in times.items():
        style = "--" if "dense" in kind else "-"
        left.loglog(list(points), list(points.values()), marker="o", markersize=3, linestyle=style, label=kind)
    left.set(ylabel="ms, forward and backward", title=f"Time of a step, {VIEWS} views of {FEATURES} features")
    for kind, points in ratios.items():
        right.semilogx(list(points), list(points.values()), marker="o", markersize=3, label=kind)
    right.set(ylabel="time over that of the matrix products", title="Beside the matrix products that a loss needs")
    right.set_ylim(0, 4)
    for axes in (left, right):
        axes.set_xlabel("B, rows of a batch")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def gpu(names: Sequence[str], sizes: Sequence[int], backend: str, memory_mib: int | None, check: bool) -> None:
    """Prints the table of a GPU, or of small sizes on a CPU for a check of the command."""
    if check:
        print_table(names or ("norms", "loss4"), (32, 64), Setting("cpu", 16, backend, memory_mib, rounds=3))
    elif not torch.cuda.is_available():
        raise SystemExit("gpu: torch finds no GPU; accepted here: gpu --check, which runs small sizes on a CPU")
    else:
        print_table(names or LOSSES, sizes or GPU_SIZES, Setting("cuda", FEATURES, backend, memory_mib, rounds=11))


def main() -> None:
    """Prints the figures of one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    ratios = commands.add_parser("ratio", help="time and memory beside the matrix products")
    ratios.add_argument("losses", nargs="*", default=RATIO_LOSSES)
    ratios.add_argument("--rows", type=int, default=1024)
    ratios.add_argument("--repeats", type=int, default=7)
    curves = commands.add_parser("curve", help="cost against the batch")
    curves.add_argument("plot", nargs="?")
    table = commands.add_parser("gpu", help="a table in Markdown for a GPU")
    table.add_argument("losses", nargs="*")
    table.add_argument("--sizes", type=int, nargs="+", help="batch sizes; 256 to 65,536 without it")
    table.add_argument("--backend", default="auto", help="loss.backend")
    table.add_argument("--memory-mib", type=int, help="loss.memory_mib; its default without it")
    table.add_argument("--check", action="store_true", help="small sizes on a CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.command == "gpu":
        gpu(arguments.losses, arguments.sizes, arguments.backend, arguments.memory_mib, arguments.check)
        return
    print(machine())
    if arguments.command == "curve":
        curve(arguments.plot)
    else:
        ratio(arguments.losses, arguments.rows, arguments.repeats)


if __name__ == "__main__":
    main()
