"""Measures the source of a table of many rows.

``python -m tests.benchmarks.table_rows [--rows 100000] [--pictures 1000]``

It writes `--pictures` different PNG files of 8 x 8 pixels, hard links to them under the names of `--rows` pictures, and
a CSV file with one caption for each name. It then makes the source several times, in processes of their own that share
an empty cache folder. The first process decodes every picture; the others find the results and the texts in the cache.

The time is that of `make_source`, without imports. The processor time is that of this process alone: on a busy machine,
the rest is time that other work took, and in the first call that of the processes that decode pictures. The bytes a row
are what `tracemalloc` counts while the source exists, compared with the count before `make_source`; memory-mapped texts
and paths are not counted. The last figure is the size of the pickled source, which a worker process gets where it is
not forked.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.timing import machine

# What a process measures. Tracing slows a process, so the time and the memory are measured in different processes.
MEASURE = """
import gc, logging, pickle, sys, time, tracemalloc
from model.data import make_source
from model.data.source import SourceOptions
from tests.data.table_folder import config
file, rows, traces = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "memory"
group = config(file, val_size=rows // 100, test_size=rows // 100)
logging.disable()
if traces:
    make_source(group, SourceOptions(48, 0, progress_bar=False))  # imports what is needed
    tracemalloc.start()
gc.collect()
before = tracemalloc.get_traced_memory()[0]
start, used = time.perf_counter(), time.process_time()
source = make_source(group, SourceOptions(48, 0, progress_bar=False))
seconds, used = time.perf_counter() - start, time.process_time() - used
gc.collect()
held = tracemalloc.get_traced_memory()[0] - before
size = len(pickle.dumps(source))
if traces:
    print(f"{held / rows:.1f} bytes a row, {size / rows:.1f} pickled")
else:
    print(f"{seconds:.2f} s, processor time {used:.2f} s")
"""


def write(folder: Path, rows: int, pictures: int) -> Path:
    """Writes the pictures and the table. Returns the table."""
    import numpy as np
    from PIL import Image

    for number in range(pictures):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:07}.png")
    for number in range(pictures, rows):
        os.link(folder / f"{number % pictures:07}.png", folder / f"{number:07}.png")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text"])
        writer.writerows(
            (f"{number:07}.png", f"a caption of picture {number} in a few words") for number in range(rows)
        )
    return folder / "table.csv"


def measured(table: Path, rows: int, what: str, cache: Path) -> str:
    """Returns what a process prints. what: time or memory."""
    command = [sys.executable, "-c", MEASURE, str(table), str(rows), what]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description="Measures the source of a table of many rows.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "pictures", Path(name) / "cache"
        folder.mkdir()
        table = write(folder, options.rows, options.pictures)
        print(f"{options.rows:,} rows, {options.pictures:,} different pictures")
        print(f"first make_source:  {measured(table, options.rows, 'time', cache)}")
        print(f"second make_source: {measured(table, options.rows, 'time', cache)}")
        print(f"third make_source:  {measured(table, options.rows, 'time', cache)}")
        print(f"the process holds:  {measured(table, options.rows, 'memory', cache)}")


if __name__ == "__main__":
    main()
