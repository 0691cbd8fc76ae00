"""Times the reading and drawing of pictures by the checkout on PYTHONPATH. `pictures.py` starts it as a process.

Reads one job a line from standard input: a JSON list of a name in JOBS and its arguments. Prints a JSON list with
[seconds, seconds of all cores] for each part of the job.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial

import torch

from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.module import CaptionData
from model.data.scenes import Scenes
from model.data.scenes_drawing import Drawing
from model.data.source import SplitSizes
from model.data.tokenizer import train_tokenizer

CAPTIONS, BATCH = 5, 50
Part = Callable[[], object]


@lru_cache
def coco(folder: str, size: int) -> Coco:
    """Returns the source of the folder, with pictures of `size` pixels."""
    return Coco(coco_parts(folder, "2017"), SplitSizes(None, 1, 1), captions=CAPTIONS, image_size=size)


@lru_cache
def scenes(size: int) -> Scenes:
    """Returns a source of drawn pictures of `size` pixels."""
    return Scenes(SplitSizes(512, 1, 1), image_size=size, seed=0)


def read(folder: str, size: int, count: int) -> list[Part]:
    """Reads the first `count` pictures as squares, without captions."""
    source = coco(folder, size)
    return [
        lambda: [source.images("train", range(first, min(count, first + BATCH))) for first in range(0, count, BATCH)]
    ]


def load(folder: str, size: int, workers: int) -> list[Part]:
    """Loads all batches of two epochs, with captions. Each epoch is a part."""
    source = coco(folder, size)
    texts = [text for row in source.texts("train", range(64)) for text in row]
    data = CaptionData(
        source,
        train_tokenizer(texts, 400),
        batch_size=BATCH,
        num_workers=workers,
        captions=CAPTIONS,
        context_length=77,
        seed=0,
    )
    loader = data.train_dataloader()
    return [lambda: sum(len(batch.indices) for batch in loader)] * 2


def draw(size: int, count: int) -> list[Part]:
    """Draws the first `count` scenes."""
    return [partial(scenes(size).images, "train", range(count))]


def stencils(size: int) -> list[Part]:
    """Computes the stencils of scenes."""
    return [partial(Drawing, size)]


JOBS: dict[str, Callable[..., list[Part]]] = {"read": read, "load": load, "draw": draw, "stencils": stencils}


def core_seconds() -> float:
    """Returns the time that the cores have spent on this process and on the processes that it has started."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def main() -> None:
    """Does the jobs in the order in which they arrive, with one thread."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        times = []
        for part in JOBS[name](*arguments):
            start, cores = time.perf_counter(), core_seconds()
            part()
            times.append([time.perf_counter() - start, core_seconds() - cores])
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
