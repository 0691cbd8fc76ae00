"""Finds the entries of left-out images in a captions file, for a report that names their lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model.data.annotation_json import read_text
from model.data.annotation_problems import Problem
from model.data.annotations import Identifier
from model.data.json_lines import entries
from model.data.part_report import PartReport
from model.data.text import escape, one_line


def left_out_entries(report: PartReport) -> Iterator[Problem]:
    """Yields a Problem for each entry of the list `images` that the source of `report` has left out, in the order of
    the file. Reads the captions file again, and only if images are left out. Without such a file, yields a Problem for
    each image that is left out.
    """
    if report.annotation_file is None:
        yield from left_out_images(report)
        return
    if not (report.unreadable or report.few_captions or report.repeated_images):
        return
    ids: set[Identifier] = set()
    for number, (line, image) in enumerate(entries(read_text(report.annotation_file), "images")):
        reason = "has the id of an earlier entry" if image["id"] in ids else reason_of(image, report)
        if reason:
            sentence = f"images[{number}], {one_line(image['file_name'])}, {reason}"
            yield Problem(report.annotation_file, line, sentence)
        ids.add(image["id"])


def left_out_images(report: PartReport) -> Iterator[Problem]:
    """Yields a Problem for each image that the source of `report` has left out, without a line."""
    for name, reason in report.unreadable.items():
        yield Problem(Path(escape(name)), None, reason)
    for name in report.few_captions.values():
        yield Problem(Path(escape(name)), None, f"has fewer than data.captions={report.captions} captions")


def reason_of(image: dict, report: PartReport) -> str | None:
    """Returns why an image is left out. None if it is used."""
    if image["id"] in report.few_captions:
        return f"has fewer than data.captions={report.captions} captions"
    return report.unreadable.get(image["file_name"])
