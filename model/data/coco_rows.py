"""Makes rows from the annotation files of a COCO folder: which images are used, and which are left out and why."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from model.data.annotation_problems import DamagedAnnotations, Problem
from model.data.annotations import (
    CaptionsFile,
    Entries,
    Identifier,
    InstancesFile,
    read_captions,
    read_instances,
)
from model.data.coco_files import CocoPart
from model.data.part_report import PartReport
from model.data.picture_cache import PictureCache
from model.data.pictures import NotReadable, PictureFacts
from model.data.text import clean, has_lone_surrogate, one_line
from model.errors import ConfigError

log = logging.getLogger(__name__)
OUTSIDE = "lies outside the image folder (allowed with data.allow_outside=true)"


class ImageRow(NamedTuple):
    """One image."""

    name: str
    """The file name in the annotation file: the path below the image folder."""
    file: str
    """The whole path."""
    captions: list[str]
    label: int
    """Index into the class names. -1 if the image has no instance."""


class PartContent(NamedTuple):
    """The content of a part's annotation files."""

    rows: list[ImageRow]
    """The images with enough captions, in the order of their ids. Their files have not been examined."""
    class_names: tuple[str, ...] | None
    """The categories in the order of their ids. None if there is no instances file."""
    report: PartReport


def read_parts(parts: Mapping[str, CocoPart], captions: int, *, allow_outside: bool) -> dict[str, PartContent]:
    """Reads the annotation files of all parts, each file once. For the arguments, see `part_content`.

    Raises DamagedAnnotations with the problems of all files, and ConfigError if no image of a part has so many
    captions.
    """
    contents: dict[str, PartContent] = {}
    problems: list[Problem] = []
    for name, part in parts.items():
        try:
            contents[name] = part_content(part, *read_annotations(part), captions, allow_outside=allow_outside)
        except DamagedAnnotations as damage:
            problems += damage.problems
    if problems:
        raise DamagedAnnotations(problems)
    for name in reversed(contents):  # val before train
        require_images(contents[name], captions)
    return contents


def read_annotations(part: CocoPart) -> tuple[CaptionsFile, InstancesFile | None]:
    """Reads both annotation files of a part. Raises DamagedAnnotations with the problems of both."""
    problems: list[Problem] = []
    captions = instances = None
    try:
        captions = read_captions(part.captions())
    except DamagedAnnotations as damage:
        problems += damage.problems
    try:
        if part.instances().is_file():
            instances = read_instances(part.instances(), captions.id_type() if captions else None)
    except DamagedAnnotations as damage:
        problems += damage.problems
    if captions is None or problems:
        raise DamagedAnnotations(problems)
    return captions, instances


def part_content(
    part: CocoPart, texts: CaptionsFile, instances: InstancesFile | None, captions: int, *, allow_outside: bool
) -> PartContent:
    """Makes a row of every image with at least `captions` captions. The row has the first `captions` of them in the
    order of the captions' ids.

    allow_outside: whether files outside the image folder are used.
    """
    report = PartReport(part.name, part.captions(), captions)
    captions_of = captions_by_image(texts, report)
    labels = largest_instances(instances) if instances else {}
    rows, folder = [], str(part.images())
    for image in first_of_each_id(texts.images, report):
        name, own = image["file_name"], captions_of.get(image["id"], [])
        report.captions_of_images.append(len(own))
        if is_outside(name) and not allow_outside:
            report.unreadable[name] = OUTSIDE
        elif len(own) < captions:
            report.few_captions[image["id"]] = name
        else:
            rows.append(ImageRow(name, os.path.join(folder, name), own[:captions], labels.get(image["id"], -1)))
    return PartContent(rows, class_names(instances) if instances else None, report)


def require_images(content: PartContent, captions: int) -> None:
    """Raises ConfigError if no image of the part has `captions` captions."""
    report = content.report
    if not content.rows and not report.unreadable:
        most = max(report.captions_of_images, default=0)
        allowed = f"1 to {most}" if most else f"a folder whose {report.annotation_file} has captions of its images"
        raise ConfigError(f"data.captions={captions} is more than any image of {report.name} has; allowed: {allowed}")


def readable_rows(part: CocoPart, content: PartContent, count: int | None, *, progress_bar: bool) -> list[ImageRow]:
    """Returns the first `count` (None: all) rows whose picture can be read. Images that are left out are added to the
    report and named in the log.

    Raises ConfigError if no picture can be read.
    """
    readable: list[ImageRow] = []
    facts: list[tuple[str, PictureFacts]] = []
    report, rows = content.report, iter(content.rows)
    with PictureCache(part.images(), progress_bar=progress_bar) as cache:
        while block := list(islice(rows, None if count is None else count - len(readable))):
            for row, result in zip(block, cache.check([row.name for row in block]), strict=True):
                if isinstance(result, NotReadable):
                    report.unreadable[row.name] = str(result)
                else:
                    readable.append(row)
                    facts.append((row.name, result))
    report.examined, report.facts = cache.examined, facts
    if not readable:
        first = next((f" ({one_line(name)} {reason})" for name, reason in report.unreadable.items()), "")
        allowed = f"a folder with the images that {part.captions()} names"
        raise ConfigError(f"data.root={part.root}: no image of {part.images()} can be read{first}; allowed: {allowed}")
    report.log_use(log, len(readable))
    return readable


def recorded_rows(content: PartContent, left_out: Mapping[str, str], count: int | None) -> list[ImageRow]:
    """Returns the first `count` (None: all) rows that are not in `left_out`, the images that an earlier source left
    out. Examines no file.
    """
    return list(islice((row for row in content.rows if row.name not in left_out), count))


def first_of_each_id(images: Entries, report: PartReport) -> Entries:
    """Returns the images in the order of their ids. If several have the same id, only the first in the file."""
    first: dict[Identifier, dict] = {}
    for image in images:
        first.setdefault(image["id"], image)
    report.images = len(first)
    counts = Counter(image["id"] for image in images)
    report.repeated_images = [first[number]["file_name"] for number, count in counts.items() if count > 1]
    return [first[number] for number in sorted(first)]


def captions_by_image(texts: CaptionsFile, report: PartReport) -> dict[Identifier, list[str]]:
    """Returns image id -> its captions, in the order of the captions' ids. Images without captions have no entry.
    Captions without a word are left out.
    """
    captions: dict[Identifier, list[str]] = defaultdict(list)
    images = {image["id"] for image in texts.images}
    for entry in sorted(texts.annotations, key=lambda entry: entry["id"]):
        text = clean(entry["caption"])
        if entry["image_id"] not in images:
            report.captions_without_image += 1
        elif text:
            captions[entry["image_id"]].append(text)
            report.surrogates += has_lone_surrogate(entry["caption"])
        else:
            report.empty_captions.append(entry["id"])
    report.repeated_captions = len(texts.annotations) - len({entry["id"] for entry in texts.annotations})
    return captions


def is_outside(name: str) -> bool:
    """Returns whether a file name leads out of the image folder. Symbolic links inside the folder are trusted, because
    the owner of the folder has made them.
    """
    return os.path.isabs(name) or ".." in name.split("/")


def class_names(instances: InstancesFile) -> tuple[str, ...]:
    """Returns the names of the categories, in the order of their ids."""
    names = {category["id"]: clean(category["name"]) for category in reversed(instances.categories)}
    return tuple(names[number] for number in sorted(names))


def largest_instances(instances: InstancesFile) -> dict[Identifier, int]:
    """Returns image id -> class of the image's instance with the largest area. Of instances with equal areas, the one
    with the lowest id counts.
    """
    index = {number: i for i, number in enumerate(sorted({category["id"] for category in instances.categories}))}
    largest: dict[Identifier, dict] = {}
    for instance in sorted(instances.annotations, key=lambda instance: instance["id"]):
        if instance["area"] > largest.setdefault(instance["image_id"], instance)["area"]:
            largest[instance["image_id"]] = instance
    return {image: index[instance["category_id"]] for image, instance in largest.items()}
