"""Times a short run as a whole: ``python -m tests.benchmarks.fixed_cost OTHER_CHECKOUT [rounds]``.

Runs the default run of 60 steps in processes of their own, alternating between this checkout and another one, and
prints, for each, the medians of the wall time of the process, of the time of training (`seconds` of summary.json) and
of the time outside training, which is what a short run pays for imports, data, evaluation, analysis and report. The
last line has the ratios of the medians, this checkout divided by the other. The first round is not counted: it compiles
the kernels of the loss and fills the user's cache folder.
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


def main(other: Path, rounds: int) -> None:
    """Prints the table that the docstring of this file describes."""
    print(machine())
    checkouts = {"other": other.resolve(), "this": OURS}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(rounds + 1):
        for name, checkout in checkouts.items():
            rows[name].append(timed_run(checkout))
    medians = {
        name: {part: statistics.median(row[part] for row in counted[1:]) for part in PARTS}
        for name, counted in rows.items()
    }
    print("checkout" + "".join(f"{part:>12}" for part in PARTS))
    for name, figures in medians.items():
        print(f"{name:8}" + "".join(f"{figures[part]:10.1f} s" for part in PARTS))
    print("ratio   " + "".join(f"{medians['this'][part] / medians['other'][part]:12.2f}" for part in PARTS))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
