"""A COCO folder's files, and the rows in them. Nothing but the standard library and, to test pictures, Pillow."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from model.errors import ConfigError

log = logging.getLogger(__name__)
# How many unreadable files a message names.
NAMED = 20
# Files that are tested at a time.
CHUNK = 256


class Row(NamedTuple):
    """One image."""

    file: Path
    captions: list[str]
    label: int
    """Index into the class names; -1 where the image has no instance."""


class Part(NamedTuple):
    """One of the two parts of a COCO folder, train or val."""

    root: Path
    name: str
    """As in file names, such as val2017."""

    def captions(self) -> Path:
        """The captions, which there must be."""
        return self.root / "annotations" / f"captions_{self.name}.json"

    def instances(self) -> Path:
        """The objects in the images, which there may be."""
        return self.root / "annotations" / f"instances_{self.name}.json"

    def images(self) -> Path:
        """The folder of the images."""
        return self.root / self.name


def parts(root: str | None, year: str) -> dict[str, Part]:
    """"train" and "val" of the folder `root`. Raises ConfigError, which names the path, where a file or folder is missing."""
    if root is None:
        raise ConfigError("data.root=null names no folder; allowed: a COCO folder, with annotations/ and the image folders")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"data.root={root} is not a folder; allowed: a COCO folder, with annotations/ and the image folders")
    found = {split: Part(folder, f"{split}{year}") for split in ("train", "val")}
    for part in found.values():
        if not part.captions().is_file():
            raise ConfigError(f"data.root={root} lacks the annotation file {part.captions()}; allowed: a COCO folder of {year}")
        if not part.images().is_dir():
            raise ConfigError(f"data.root={root} lacks the image folder {part.images()}; allowed: a COCO folder of {year}")
    return found


def usable_rows(part: Part, captions: int, wanted: int | None) -> list[Row]:
    """The first `wanted` (None: all) images with at least `captions` captions that can be read. Raises ConfigError where there are none, with the
    reason."""
    rows = read_rows(part, captions)
    if not rows:
        most = max(map(len, texts_of(json.loads(part.captions().read_text(encoding="utf-8"))).values()), default=0)
        allowed = f"1 to {most}" if most else f"a folder whose {part.captions()} has captions of its images"
        raise ConfigError(f"data.captions={captions} is more than any image of {part.name} has; allowed: {allowed}")
    found = readable_rows(rows, wanted, part.name)
    if not found:
        allowed = f"a folder with the images that {part.captions()} names"
        raise ConfigError(f"data.root={part.root}: no image of {part.images()} can be read; allowed: {allowed}")
    return found


def read_rows(part: Part, captions: int) -> list[Row]:
    """The images with at least `captions` captions, by image number; of each its first `captions`, by caption number."""
    found = json.loads(part.captions().read_text(encoding="utf-8"))
    texts = texts_of(found)
    labels = largest_instances(part) or {}
    images = sorted(found["images"], key=lambda image: image["id"])
    return [
        Row(part.images() / image["file_name"], texts[image["id"]][:captions], labels.get(image["id"], -1))
        for image in images
        if len(texts[image["id"]]) >= captions
    ]


def texts_of(found: dict) -> dict[int, list[str]]:
    """A caption file's content -> image number -> its captions, by caption number; nothing for an image without any."""
    texts: dict[int, list[str]] = defaultdict(list)
    for note in sorted(found["annotations"], key=lambda note: note["id"]):
        texts[note["image_id"]].append(" ".join(note["caption"].split()))
    return texts


def class_names(part: Part) -> tuple[str, ...] | None:
    """The categories by number; None where there is no instance file."""
    return tuple(name for _, name in categories(json.loads(part.instances().read_text(encoding="utf-8")))) if part.instances().is_file() else None


def categories(instances: dict) -> list[tuple[int, str]]:
    """(number, name), sorted."""
    return sorted((category["id"], category["name"]) for category in instances["categories"])


def largest_instances(part: Part) -> dict[int, int] | None:
    """Image number -> class of its largest instance by area; None where there is no instance file."""
    if not part.instances().is_file():
        return None
    instances = json.loads(part.instances().read_text(encoding="utf-8"))
    index = {number: i for i, (number, _) in enumerate(categories(instances))}
    by_area = sorted(instances["annotations"], key=lambda note: (note["area"], -note["id"]))
    return {note["image_id"]: index[note["category_id"]] for note in by_area}


def readable_rows(rows: Iterable[Row], wanted: int | None, name: str) -> list[Row]:
    """The first `wanted` (None: all) of `rows` whose image can be read; those passed over are counted and named in the log."""
    kept: list[Row] = []
    lost: list[str] = []
    with ThreadPoolExecutor() as threads:
        for row, fine in checked(iter(rows), threads):
            if len(kept) == wanted:
                break
            if fine:
                kept.append(row)
            else:
                lost.append(row.file.name)
    if lost:
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        log.warning("%s: %d images cannot be read and are left out: %s%s", name, len(lost), ", ".join(lost[:NAMED]), more)
    return kept


def checked(rows: Iterator[Row], threads: ThreadPoolExecutor) -> Iterator[tuple[Row, bool]]:
    """Each row, and whether its image can be read; a chunk of files at a time."""
    while chunk := list(islice(rows, CHUNK)):
        yield from zip(chunk, threads.map(readable, [row.file for row in chunk]), strict=True)


def readable(file: Path) -> bool:
    """Whether the whole file decodes; a JPEG at an eighth of its size, which is faster and misses nothing."""
    try:
        with Image.open(file) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
