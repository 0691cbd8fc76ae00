"""From the annotation files of a COCO folder to rows: which images are used, and which are left out and why."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from itertools import islice
from typing import NamedTuple

from model.data.annotations import Captions, Damaged, Identifier, Instances, read_captions, read_instances
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
    """As in the annotation file: the path below the image folder."""
    file: str
    """The whole path."""
    captions: list[str]
    label: int
    """Index into the class names; -1 where the image has no instance."""


class Listed(NamedTuple):
    """What the annotation files of a part say."""

    rows: list[Row]
    """The images with enough captions, by number. Their files have not been looked at."""
    class_names: tuple[str, ...] | None
    """The categories by number; None where there is no instance file."""
    tally: Tally


def listed_rows(part: Part, captions: int, *, allow_outside: bool) -> Listed:
    """The images with at least `captions` captions; of each the first `captions`, by caption number.

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


def readable_rows(part: Part, listed: Listed, wanted: int | None) -> list[Row]:
    """The first `wanted` (None: all) rows whose picture can be read; what is left out goes into the tally and the log.

    Raises ConfigError where there are none.
    """
    kept: list[Row] = []
    tally, rows = listed.tally, iter(listed.rows)
    with RememberedPictures(part.images()) as pictures:
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
    log.info("%s: %s images are used; %s pictures were decoded, the others are known", tally.name, f"{len(kept):,}", f"{tally.examined:,}")
    for sentence in tally.warnings():
        log.warning("%s", sentence)
    return kept


def remaining_rows(listed: Listed, left_out: dict[str, str], wanted: int | None) -> list[Row]:
    """The first `wanted` (None: all) rows that another process, or this run when it began, did not leave out. No file is looked at."""
    return list(islice((row for row in listed.rows if row.name not in left_out), wanted))


def first_of_each_id(images: list[dict], tally: Tally) -> list[dict]:
    """The images by number; of those with one number the first in the file."""
    first: dict[Identifier, dict] = {}
    for image in images:
        first.setdefault(image["id"], image)
    tally.images = len(first)
    tally.repeated_images = [first[number]["file_name"] for number, count in Counter(image["id"] for image in images).items() if count > 1]
    return [first[number] for number in sorted(first)]


def texts_of(found: Captions, tally: Tally) -> dict[Identifier, list[str]]:
    """Image number -> its captions, by caption number; nothing for an image without any. A caption without a word is left out."""
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
    """Whether a file name leads out of the image folder. A link inside the folder may lead anywhere, because the owner of the folder has made it."""
    return os.path.isabs(name) or ".." in name.split("/")


def class_names(instances: Instances) -> tuple[str, ...]:
    """The categories, by number."""
    names = {category["id"]: clean(category["name"]) for category in reversed(instances.categories)}
    return tuple(names[number] for number in sorted(names))


def largest_instances(instances: Instances) -> dict[Identifier, int]:
    """Image number -> class of its largest instance by area; of equally large ones the one with the lowest number."""
    index = {number: i for i, number in enumerate(sorted({category["id"] for category in instances.categories}))}
    largest: dict[Identifier, dict] = {}
    for note in sorted(instances.annotations, key=lambda note: note["id"]):
        if note["area"] > largest.setdefault(note["image_id"], note)["area"]:
            largest[note["image_id"]] = note
    return {image: index[note["category_id"]] for image, note in largest.items()}
