"""For a report on a COCO folder: the faulty entries of its annotation files, and the entries of images that are left
out, with file and line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from model.data.annotation_problems import Damaged, Problem
from model.data.annotations import parsed, read_captions, read_instances, read_text
from model.data.coco_files import Part, parts
from model.data.json_lines import lines_of
from model.data.tally import Tally
from model.data.text import shown


def in_files(config: Any) -> list[Problem]:
    """The problems for which a run would refuse the annotation files, of all files."""
    found: list[Problem] = []
    for part in parts(config.root, config.year).values():
        kind = None
        try:
            kind = read_captions(part.captions()).kind_of_ids()
        except Damaged as damage:
            found += damage.problems
        try:
            if part.instances().exists():
                read_instances(part.instances(), kind)
        except Damaged as damage:
            found += damage.problems
    return found


def left_out(folder: dict[str, Part], tallies: dict[str, Tally]) -> Iterator[Problem]:
    """The entries of images that are left out, in the order of the files."""
    for split, part in folder.items():
        text = read_text(part.captions())
        reasons = dict(reasons_of(parsed(part.captions(), text)["images"], tallies[split]))
        lines = lines_of(text, "images", set(reasons))
        for number, reason in reasons.items():
            yield Problem(part.captions(), lines[number], f"images[{number}], {reason}")


def reasons_of(images: list[dict[str, Any]], tally: Tally) -> Iterator[tuple[int, str]]:
    """(number of the entry, the image's file and why it is left out)."""
    seen = set()
    for number, image in enumerate(images):
        name = image["file_name"]
        if image["id"] in seen:
            yield number, f"{shown(name)}, has the id of an earlier entry"
        elif image["id"] in tally.few_captions:
            yield number, f"{shown(name)}, has fewer than data.captions={tally.captions} captions"
        elif name in tally.unreadable:
            yield number, f"{shown(name)}, {tally.unreadable[name]}"
        seen.add(image["id"])
