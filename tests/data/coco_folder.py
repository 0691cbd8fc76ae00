"""Writes a small folder in COCO's format. Its pictures are different noise, and each caption names its picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.source import SplitSizes


def write_folder(root: Path, *, train: int = 24, val: int = 8, captions: int = 5, size: int = 12) -> Path:
    """Writes train2017/ and val2017/ with the PNG files 0000.png, 0001.png, … and their captions. Returns `root`."""
    for name, count in (("train2017", train), ("val2017", val)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(noise(name, number, size)).save(root / name / f"{number:04}.png")
        write_captions(
            root,
            name,
            {
                f"{number:04}.png": [f"{name} picture {number} caption {k}" for k in range(captions)]
                for number in range(count)
            },
        )
    return root


def noise(name: str, number: int, size: int) -> np.ndarray:
    """Returns (size, size, 3) uint8, different for every part and number."""
    return np.random.default_rng([len(name), number]).integers(0, 256, (size, size, 3), dtype=np.uint8)


def write_captions(root: Path, name: str, texts: dict[str, list[str]]) -> Path:
    """Writes the captions file of a part and returns its path. texts: file name -> captions; the ids of the images
    follow this order.
    """
    images = [{"id": number, "file_name": file} for number, file in enumerate(texts)]
    notes = [
        {"id": 1000 * number + k, "image_id": number, "caption": text}
        for number, own in enumerate(texts.values())
        for k, text in enumerate(own)
    ]
    file = root / "annotations" / f"captions_{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": notes}, indent=1))
    return file


def small_source(root: Path, **sizes) -> Coco:
    """Returns the source of such a folder, by default with 4 images each for val and test."""
    sizes = SplitSizes(**({"train": None, "val": 4, "test": 4} | sizes))
    return Coco(coco_parts(str(root), "2017"), sizes, captions=5, image_size=32)
