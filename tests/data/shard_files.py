"""Writes small shards with Python's tarfile, which the project does not use to read them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from model.data.shard_part import PartOptions
from model.data.shard_patterns import split_paths
from model.data.shard_texts import TextRules
from model.data.shards import Shards
from model.data.source import SplitSizes
from tests.data.coco_folder import noise

RULES = TextRules(("captions", "caption"), False)


def write_tar(path: Path, files: Mapping[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    """Writes files into a tar and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def picture(number: int, name: str = "train", size: int = 12) -> bytes:
    """Returns a PNG of noise, different for every number and name."""
    file = io.BytesIO()
    Image.fromarray(noise(name, number, size)).save(file, "PNG")
    return file.getvalue()


def sample(number: int, *captions: str, name: str = "train", **more: bytes) -> dict[str, bytes]:
    """Returns the files of a sample: a picture, captions as json, and further files by their extension."""
    texts = list(captions) or [f"{name} picture {number}"]
    files = {
        f"{number:05}.png": picture(number, name),
        f"{number:05}.json": json.dumps({"captions": texts}).encode(),
    }
    return files | {f"{number:05}.{extension}": content for extension, content in more.items()}


def samples(first: int, last: int, *captions: str, name: str = "train") -> dict[str, bytes]:
    """Returns the files of the samples from `first` to `last` - 1."""
    files: dict[str, bytes] = {}
    for number in range(first, last):
        files |= sample(number, *(f"{text} {number}" for text in captions), name=name)
    return files


def shards(root, *, val=None, test=None, record=None, rules=RULES, captions: int = 1, repeats: bool = False, sizes=()):
    """Returns the source of shards, by default with all samples for training that are not among the 4 of val and the 4
    of test. sizes: pairs of a split and its size.
    """
    return Shards(
        split_paths(str(root) if isinstance(root, Path) else root, val, test),
        SplitSizes(**({"train": None, "val": 4, "test": 4} | dict(sizes))),
        PartOptions(rules, captions, repeats, False),
        image_size=32,
        record=record,
    )


def texts(source, split: str) -> list[list[str]]:
    """Returns the captions of all rows of a split."""
    return source.texts(split, range(source.size(split)))
