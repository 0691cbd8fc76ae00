"""What reading and drawing pictures costs, beside another checkout of the project. Not a test: run it on a quiet
machine.

  python -m tests.benchmarks.pictures OTHER_CHECKOUT [ROUNDS]

Each checkout works in one process, which waits while the other one works. A line has the medians of both and their
ratios: of the wall time, and of the time of all cores, which other work on the machine disturbs less. "read" reads
JPEGs of 640 x 480 pixels (0.1 MB each) as squares. "load" makes the batches of a training run from them, with five
captions of each picture, in the main process (0 workers) or in others. "draw" draws scenes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.timing import machine

HERE = Path(__file__).resolve().parents[2]
PICTURES, CAPTIONS, SCENES = 500, 5, 512
Job = list[str | int]
WORDS = ["a", "dog", "cat", "man", "on", "in", "the", "grass", "red", "small", "bus", "street", "with", "plate", "of"]


def photograph(number: int) -> Image.Image:
    """Returns a picture of 640 x 480 pixels: noise of four sizes, of which coarse noise is the strongest."""
    random = np.random.default_rng(number)
    pixels = np.full((480, 640, 3), random.uniform(90, 160, 3))
    for height, strength in ((15, 60), (60, 30), (160, 20), (480, 8)):
        noise = random.normal(0, strength, (3, height, height * 4 // 3)).astype(np.float32)
        channels = [np.asarray(Image.fromarray(plane).resize((640, 480), Image.Resampling.BICUBIC)) for plane in noise]
        pixels += np.stack(channels, axis=2)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_folder(root: Path) -> None:
    """Writes a folder in COCO's format with the pictures and captions of about eleven words."""
    random = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train2017", PICTURES), ("val2017", 2)):
        (root / part).mkdir()
        for number in range(count):
            photograph(number + 1000 * len(part)).save(root / part / f"{number}.jpg", quality=85)
        images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(count)]
        notes = [
            {"id": number, "image_id": number // CAPTIONS, "caption": " ".join(random.choice(WORDS, 11).tolist())}
            for number in range(count * CAPTIONS)
        ]
        file = root / "annotations" / f"captions_{part}.json"
        file.write_text(json.dumps({"images": images, "annotations": notes}))


class Worker:
    """A process that does jobs with the code of one checkout."""

    def __init__(self, checkout: Path, cache: Path) -> None:
        """cache: the folder in which the process keeps the results of examining pictures."""
        environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
        script = Path(__file__).with_name("picture_jobs.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def times(self, job: Job) -> list[list[float]]:
        """Returns [seconds, seconds of all cores] of each part of a job."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def jobs(folder: str) -> list[tuple[Job, int, list[str]]]:
    """Returns jobs, the number of pictures of each, and the names of its parts."""
    table: list[tuple[Job, int, list[str]]] = []
    for size in (224, 48):
        table.append((["read", folder, size, PICTURES], PICTURES, [f"read, {size} pixels"]))
        table.append((["draw", size, SCENES], SCENES, [f"draw scenes, {size} pixels"]))
        table.append((["stencils", size], 1, [f"stencils of scenes, {size} pixels"]))
    for size, workers in ((224, 0), (224, 2), (48, 2)):
        names = [f"load, {size} pixels, {workers} workers, epoch {epoch}" for epoch in (1, 2)]
        table.append((["load", folder, size, workers], PICTURES, names))
    return table


def print_line(name: str, pictures: int, this: list[list[float]], other: list[list[float]]) -> None:
    """Prints one line. this, other: [seconds, seconds of all cores] of each round of the two checkouts."""
    here, there = ([statistics.median(column) for column in zip(*rows, strict=True)] for rows in (this, other))
    rates = [f"{pictures / wall:,.0f}/s" if pictures > 1 else f"{wall:.2f} s" for wall in (here[0], there[0])]
    ratios = [f"{slow / fast:.2f}" for fast, slow in zip(here, there, strict=True)]
    print(f"{name:38}{rates[0]:>10}{rates[1]:>10}{ratios[0]:>12}{ratios[1]:>10}", flush=True)


def compare(other: Path, rounds: int) -> None:
    """Prints the table. The first round of a job warms up and is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        data, cache = Path(folder, "data"), Path(folder, "cache")
        write_folder(data)
        workers = [Worker(checkout, cache) for checkout in (HERE, other)]
        print(f"{'':38}{'this':>10}{'other':>10}{'ratio: wall':>12}{'cores':>10}")
        for job, pictures, names in jobs(str(data)):
            this, that = zip(*([worker.times(job) for worker in workers] for _ in range(rounds + 1)), strict=True)
            for part, name in enumerate(names):
                print_line(name, pictures, [times[part] for times in this[1:]], [times[part] for times in that[1:]])
        for worker in workers:
            worker.close()


if __name__ == "__main__":
    print(machine())
    compare(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
