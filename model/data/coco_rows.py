"""Makes rows from the annotation files of a COCO folder: which images are used, and which are left out and why."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from itertools import islice
from typing import NamedTuple

from model.data.annotation_problems import Damaged
from model.data.annotations import Captions, Identifier, Instances, read_captions, read_instances
from model.data.coco_files import Part
from model.data.pictures import NotReadable
from model.data.remembered import RememberedPictures
from model.data.tally import Tally
from model.data.text import clean, has_lone_surrogate, shown
from model.errors import ConfigError

log = logging.getLogger(__name__)
OUTSIDE = "lies outside the image folder (allowed with data.allow_outside=true)"


class Row(NamedTuple):
    """One image."""

    name: str
    """The file name in the annotation file: the path below the image folder."""
    file: str
    """The whole path."""
    captions: list[str]
    label: int
    """Index into the class names; -1 where the image has no instance."""


class Listed(NamedTuple):
    """The contents of a part's annotation files."""

    rows: list[Row]
    """The images with enough captions, in the order of their ids. Their files have not been examined."""
    class_names: tuple[str, ...] | None
    """The categories in the order of their ids; None where there is no instances file."""
    tally: Tally


def listed_rows(part: Part, captions: int, *, allow_outside: bool) -> Listed:
    """The images with at least `captions` captions, each with the first `captions` of them in the order of caption ids.

    Raises ConfigError where an annotation file is damaged or no image has so many captions.
    """
    tally = Tally(part.name, captions)
    try:
        found = read_captions(part.captions())
        instances = read_instances(part.instances(), found.kind_of_ids()) if part.instances().is_file() else None
    except Damaged as damage:
        raise damage.as_config_error() from damage
    texts = texts_of(found, tally)
    labels = largest_instances(instances) if instances else {}
    rows, folder = [], str(part.images())
    for image in first_of_each_id(found.images, tally):
        name, own = image["file_name"], texts.get(image["id"], [])
        tally.captions_of_images.append(len(own))
        if is_outside(name) and not allow_outside:
            tally.unreadable[name] = OUTSIDE
        elif len(own) < captions:
            tally.few_captions[image["id"]] = name
        else:
            rows.append(Row(name, os.path.join(folder, name), own[:captions], labels.get(image["id"], -1)))
    if not rows and not tally.unreadable:
        most = max(tally.captions_of_images, default=0)
        allowed = f"1 to {most}" if most else f"a folder whose {part.captions()} has captions of its images"
        raise ConfigError(f"data.captions={captions} is more than any image of {part.name} has; allowed: {allowed}")
    return Listed(rows, class_names(instances) if instances else None, tally)


def readable_rows(part: Part, listed: Listed, wanted: int | None, *, progress_bar: bool) -> list[Row]:
    """The first `wanted` (None: all) rows whose picture can be read; images that are left out are added to the tally
    and named in the log.

    Raises ConfigError where there are none.
    """
    kept: list[Row] = []
    tally, rows = listed.tally, iter(listed.rows)
    with RememberedPictures(part.images(), progress_bar=progress_bar) as pictures:
        while block := list(islice(rows, None if wanted is None else wanted - len(kept))):
            for row, verdict in zip(block, pictures.verdicts([row.name for row in block]), strict=True):
                if isinstance(verdict, NotReadable):
                    tally.unreadable[row.name] = str(verdict)
                else:
                    kept.append(row)
                    tally.facts.append((row.name, verdict))
    tally.examined = pictures.examined
    if not kept:
        first = next((f" ({shown(name)} {reason})" for name, reason in tally.unreadable.items()), "")
        allowed = f"a folder with the images that {part.captions()} names"
        raise ConfigError(f"data.root={part.root}: no image of {part.images()} can be read{first}; allowed: {allowed}")
    counts = (
        f"{len(kept):,} images are used; {tally.examined:,} pictures were decoded, the others are known from "
        f"earlier runs"
    )
    log.info("%s: %s", tally.name, counts)
    for sentence in tally.warnings():
        log.warning("%s", sentence)
    return kept


def remaining_rows(listed: Listed, left_out: dict[str, str], wanted: int | None) -> list[Row]:
    """The first `wanted` (None: all) rows that are not in `left_out`, the images that an earlier source left out. No
    file is examined.
    """
    return list(islice((row for row in listed.rows if row.name not in left_out), wanted))


def first_of_each_id(images: list[dict], tally: Tally) -> list[dict]:
    """The images in the order of their ids; of several with the same id, the first in the file."""
    first: dict[Identifier, dict] = {}
    for image in images:
        first.setdefault(image["id"], image)
    tally.images = len(first)
    tally.repeated_images = [
        first[number]["file_name"] for number, count in Counter(image["id"] for image in images).items() if count > 1
    ]
    return [first[number] for number in sorted(first)]


def texts_of(found: Captions, tally: Tally) -> dict[Identifier, list[str]]:
    """Image id -> its captions, in the order of caption ids; images without captions have no entry. Captions without a
    word are left out.
    """
    texts: dict[Identifier, list[str]] = defaultdict(list)
    images = {image["id"] for image in found.images}
    for note in sorted(found.annotations, key=lambda note: note["id"]):
        text = clean(note["caption"])
        if note["image_id"] not in images:
            tally.orphans += 1
        elif text:
            texts[note["image_id"]].append(text)
            tally.surrogates += has_lone_surrogate(note["caption"])
        else:
            tally.empty.append(note["id"])
    tally.repeated_captions = len(found.annotations) - len({note["id"] for note in found.annotations})
    return texts


def is_outside(name: str) -> bool:
    """Whether a file name leads out of the image folder. Links inside the folder are trusted, as the owner of the
    folder has made them.
    """
    return os.path.isabs(name) or ".." in name.split("/")


def class_names(instances: Instances) -> tuple[str, ...]:
    """The names of the categories, in the order of their ids."""
    names = {category["id"]: clean(category["name"]) for category in reversed(instances.categories)}
    return tuple(names[number] for number in sorted(names))


def largest_instances(instances: Instances) -> dict[Identifier, int]:
    """Image id -> class of its instance with the largest area; of equally large ones, the one with the lowest id."""
    index = {number: i for i, number in enumerate(sorted({category["id"] for category in instances.categories}))}
    largest: dict[Identifier, dict] = {}
    for note in sorted(instances.annotations, key=lambda note: note["id"]):
        if note["area"] > largest.setdefault(note["image_id"], note)["area"]:
            largest[note["image_id"]] = note
    return {image: index[note["category_id"]] for image, note in largest.items()}
