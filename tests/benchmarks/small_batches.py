"""Compares losses with plain autograd over the same lines, where the fixed cost of a call counts.

python -m tests.benchmarks.small_batches [--rows 4 8 16 32 64 128] [--losses einsum normsv5 …]

float32, n = 6 views of F = 512 features, forward and backward for all views and the scale. Prints the time of each loss
over that of its baseline in plain_losses.py: a figure below 1 means that the loss is faster. `stock` is compared with
F.cross_entropy, and `pairwise_clip` with a loop over the pairs of views.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from model.losses import make_loss
from tests.benchmarks.plain_losses import PLAIN_LOSSES, PlainLoss, clip, clip_of_pairs
from tests.benchmarks.timing import interleaved, machine

VIEWS, FEATURES = 6, 512
BASELINES: dict[str, PlainLoss] = {**PLAIN_LOSSES, "stock": clip, "pairwise_clip": clip_of_pairs}


def step(loss: PlainLoss, rows: int, reads: int = VIEWS) -> Callable[[], object]:
    """Returns a function that evaluates a loss of `rows` samples and its gradients once."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(rows, FEATURES, generator=generator).requires_grad_() for _ in range(reads)]
    scale = torch.tensor(1 / 0.07, requires_grad=True)
    return lambda: torch.autograd.grad(loss(views, scale), [*views, scale])


def main() -> None:
    """Prints one line for each loss, with one ratio for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--losses", nargs="+", default=list(BASELINES), choices=list(BASELINES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(machine())
    print(f"{'loss':14}", *(f"{f'B={rows}':>20}" for rows in chosen.rows))
    for name in chosen.losses:
        cells = []
        for rows in chosen.rows:
            reads = 2 if name == "stock" else VIEWS
            calls = {"ours": step(make_loss(name), rows, reads), "plain": step(BASELINES[name], rows, reads)}
            times = interleaved(calls, chosen.rounds)
            cells.append(f"{times['ours'] / times['plain']:.2f} ({1000 * times['ours']:.2f} ms)")
        print(f"{name:14}", *(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
