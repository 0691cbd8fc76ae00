"""What the losses cost. Not a test: run it on a quiet machine.

  python tests/benchmarks/losses.py ratio [loss …]     time and memory beside the matrix products that the work needs at
  least python tests/benchmarks/losses.py curve [plot.png]   cost against the batch: lines, the dense definition, the
  symile package

float32, n = 6 views of F = 512 features, forward and backward for all views and the scale. THREADS=2 (default) measures
wall time; THREADS=1 the process's CPU time, which other work on the machine disturbs less.
"""

import ctypes
import gc
import os
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from model.losses import make_loss

VIEWS, FEATURES = 6, 512
SCALE = 1 / 0.07
# Losses that need the products of every two views; the others need one product a view.
BY_PAIRS = ("normsv5", "stable_norm", "gram")
LEAN_MIB = 100


def draw(rows):
    views = torch.randn(VIEWS, rows, FEATURES, generator=torch.Generator().manual_seed(0))
    return [view.clone().requires_grad_() for view in views]


def timed(function):
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    function()
    return clock() - start


def step(loss, views):
    """A function that evaluates the loss and its gradients once."""
    scale = torch.tensor(SCALE, requires_grad=True)

    def once():
        for view in views:
            view.grad = None
        loss(views, scale).backward()

    return once


def floor(rows, products):
    """A function that does `products` matrix products forward and two backward for each."""
    a, b, grad = torch.randn(rows, FEATURES), torch.randn(rows, FEATURES), torch.randn(rows, rows)

    def once():
        for _ in range(products):
            a @ b.T
            grad @ b
            grad.T @ a

    return once


def resident(key):
    """VmRSS or VmHWM (its high-water mark) of this process, MiB; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def peak(function, views):
    """MiB that one call takes above what is resident before it, gradients of the views included."""
    for view in views:
        view.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier steps left free would hide what this one takes
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


def ratio(names, rows=1024, repeats=7):
    print(
        f"{'loss':24} {'products ms':>12} {'loss ms':>9} {'ratio':>6} {'peak MiB':>9}   (B = {rows}, medians of "
        f"{repeats}, interleaved)"
    )
    for name in names:
        name, _, memory = name.partition(":")
        views = draw(rows)
        ours, fresh = (
            step(make_loss(name, memory_mib=int(memory or 200)), views) for _ in range(2)
        )  # fresh: has kept no memory yet
        least = floor(rows, VIEWS * (VIEWS - 1) // 2 if name in BY_PAIRS else VIEWS)
        ours(), least(), ours()
        pairs = [(timed(least), timed(ours)) for _ in range(repeats)]
        del ours
        products, loss = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        share = statistics.median(b / a for a, b in pairs)
        print(
            f"{name + (' lean' if memory else ''):24} {products:12.0f} {loss:9.0f} {share:6.2f} "
            f"{peak(fresh, views):9.0f}",
            flush=True,
        )


def symile_package():
    """The published package's loss, O(B) sampling; None where it is not installed."""
    try:
        from symile import Symile
    except ImportError:
        return None
    return lambda views, scale: Symile()([torch.nn.functional.normalize(view, dim=-1) for view in views], scale)


def curve(plot=None):
    """ms per step by batch for each kind; the dense definition ends at 10 rows, a million tuples."""
    kinds = {
        "lines, einsum": (make_loss("einsum"), 1024),
        "lines, normsv5": (make_loss("normsv5"), 1024),
        "lines, loss4": (make_loss("loss4"), 1024),
        "dense, einsum": (make_loss("einsum", evaluation="dense"), 10),
        "dense, normsv5": (make_loss("normsv5", evaluation="dense"), 10),
        "symile package": (symile_package(), 1024),
    }
    sizes = (4, 6, 8, 10, 16, 32, 64, 128, 256, 512, 1024)
    figures = {}
    for kind, (loss, largest) in kinds.items():
        for rows in sizes if loss is not None else ():
            if rows <= largest:
                once = step(loss, draw(rows))
                once()
                figures.setdefault(kind, {})[rows] = 1000 * min(timed(once) for _ in range(3 if rows <= 512 else 1))
        print(kind, {rows: round(ms, 2) for rows, ms in figures.get(kind, {}).items()}, flush=True)
    if plot:
        draw_curve(figures, plot)


def draw_curve(figures, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for kind, points in figures.items():
        axes.loglog(
            list(points),
            list(points.values()),
            marker="o",
            markersize=3,
            linestyle="--" if "dense" in kind else "-",
            label=kind,
        )
    axes.set(
        xlabel="B, rows of a batch", ylabel="ms, forward and backward", title=f"{VIEWS} views of {FEATURES} features"
    )
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    command, *arguments = sys.argv[1:] or ["ratio"]
    if command == "curve":
        curve(*arguments)
    else:
        ratio(
            arguments
            or [
                "einsum",
                "norms",
                "normsv5",
                f"normsv5:{LEAN_MIB}",
                "loss1",
                "loss3",
                "loss4",
                "normsv7",
                "normsv8",
                "normsv9",
            ]
        )
