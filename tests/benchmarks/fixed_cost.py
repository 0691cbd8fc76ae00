"""Times a short run as a whole: ``python -m tests.benchmarks.fixed_cost OTHER_CHECKOUT [rounds]``.

Runs the default run of 60 steps in processes of their own, alternating between this checkout and another one. Prints,
for each run, the wall time of the process, the time of training (`seconds` of summary.json) and the time outside
training, which is what a short run pays for imports, data, evaluation, analysis and report. Then come the medians of
each checkout, and the ratios of the medians, this checkout divided by the other. The first round is not counted: it
compiles the kernels of the loss and fills the user's cache folder.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import machine

OURS = Path(__file__).resolve().parents[2]
COMMAND = ("train.py", "loss=normsv5", "monitor.clip=1.0", "trainer.max_steps=60", "trainer.enable_progress_bar=false")
PARTS = ("wall", "training", "outside")


def timed_run(checkout: Path) -> dict[str, float]:
    """Runs the command in `checkout`; returns the seconds of each of PARTS. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *COMMAND, f"hydra.run.dir={folder}"],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        wall = time.perf_counter() - start
        training = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))["seconds"]
    return {"wall": wall, "training": training, "outside": wall - training}


def line(name: str, figures: dict[str, float]) -> str:
    """Returns a line of the table, in seconds."""
    return f"{name:14}" + "".join(f"{figures[part]:10.2f}" for part in PARTS)


def main(other: Path, rounds: int) -> None:
    """Prints the table that the docstring of this file describes."""
    print(machine())
    print(" " * 14 + "".join(f"{part:>10}" for part in PARTS))
    checkouts = {"other": other.resolve(), "this": OURS}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for number in range(rounds + 1):
        for name, checkout in checkouts.items():
            rows[name].append(timed_run(checkout))
            print(line(f"{name} {number or 'warm-up'}", rows[name][-1]), flush=True)
    medians = {
        name: {part: statistics.median(row[part] for row in counted[1:]) for part in PARTS}
        for name, counted in rows.items()
    }
    for name, figures in medians.items():
        print(line(f"{name} median", figures))
    print(line("ratio", {part: medians["this"][part] / medians["other"][part] for part in PARTS}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
