"""Reads annotation files of COCO's format and checks every entry before it is used. Standard library only.

A `Problem` names the file, the line, the entry, its value and what is allowed. The problems of a file are collected, so
that a report can list them all.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from model.data.annotation_problems import Damaged, Problem, located, raise_if_any, worded
from model.data.text import clean

IDENTIFIER = "a whole number or a text"
TEXT = "a text"
NAME = "a text that is not empty"
NUMBER = "a number"

Identifier = int | str
"""The id of an image, a caption or a category."""


class Captions(NamedTuple):
    """A checked captions file."""

    images: list[dict[str, Any]]
    """Each with `id` and `file_name`."""
    annotations: list[dict[str, Any]]
    """Each with `id`, `image_id` and `caption`."""

    def kind_of_ids(self) -> type | None:
        """The type of the images' ids, int or str; None where there are no images."""
        return next((type(image["id"]) for image in self.images), None)


class Instances(NamedTuple):
    """A checked instances file."""

    categories: list[dict[str, Any]]
    """Each with `id` and `name`."""
    annotations: list[dict[str, Any]]
    """Each with `id`, `image_id`, `category_id` and `area`."""


def read_captions(file: Path) -> Captions:
    """The images and captions. Raises Damaged."""
    text = read_text(file)
    found = top_level(file, parsed(file, text), ("images", "annotations"))
    fields = {
        "images": {"id": IDENTIFIER, "file_name": NAME},
        "annotations": {"id": IDENTIFIER, "image_id": IDENTIFIER, "caption": TEXT},
    }
    check_entries(file, text, found, fields)
    check_kinds(file, text, [("images", "id", found["images"]), ("annotations", "image_id", found["annotations"])])
    check_kinds(file, text, [("annotations", "id", found["annotations"])])
    return Captions(found["images"], found["annotations"])


def read_instances(file: Path, images: type | None = None) -> Instances:
    """The categories and objects. `images`: the type of the images' ids in the captions file, int or str; None where it
    is not known. Raises Damaged.
    """
    text = read_text(file)
    found = top_level(file, parsed(file, text), ("categories", "annotations"))
    objects = {"id": IDENTIFIER, "image_id": IDENTIFIER, "category_id": IDENTIFIER, "area": NUMBER}
    check_entries(file, text, found, {"categories": {"id": IDENTIFIER, "name": NAME}, "annotations": objects})
    check_kinds(
        file, text, [("categories", "id", found["categories"]), ("annotations", "category_id", found["annotations"])]
    )
    check_kinds(file, text, [("annotations", "id", found["annotations"])])
    check_kinds(file, text, [("annotations", "image_id", found["annotations"])], images)
    raise_if_any(file, text, "categories", other_names(found["categories"]))
    known = {category["id"] for category in found["categories"]}
    unknown = (
        (
            number,
            f'annotations[{number}] has "category_id": {worded(note["category_id"])}; allowed: the id of one of the '
            f"categories",
        )
        for number, note in enumerate(found["annotations"])
        if note["category_id"] not in known
    )
    raise_if_any(file, text, "annotations", unknown)
    return Instances(found["categories"], found["annotations"])


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32. Raises Damaged."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Damaged(
            [Problem(file, None, f"cannot be read ({error.strerror}); allowed: an annotation file in COCO's format")]
        ) from error
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        start = error.start + len(content) - len(error.object)  # error.start does not count a byte order mark
        line = content.count(b"\n", 0, start) + 1
        what = f"byte {start} (0x{content[start]:02x}) is not valid {error.encoding.upper()}"
        raise Damaged([Problem(file, line, f"{what}; allowed: JSON in UTF-8")]) from error


def parsed(file: Path, text: str) -> Any:
    """The JSON in `text`. Raises Damaged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = "the file ends too early" if error.pos >= len(text.rstrip()) else f"{error.msg} (column {error.colno})"
        reason = "the file is empty" if not text.strip() else where
        raise Damaged([Problem(file, error.lineno, f"{reason}; allowed: JSON in COCO's format")]) from error
    except RecursionError as error:
        raise Damaged(
            [Problem(file, None, "lists or objects are nested too deeply; allowed: JSON in COCO's format")]
        ) from error
    except ValueError as error:  # a number with more digits than Python reads
        digits = sys.get_int_max_str_digits()
        where = re.search(rf"\d{{{digits + 1},}}", text)
        line = text.count("\n", 0, where.start()) + 1 if where else None
        raise Damaged(
            [Problem(file, line, f"a number has more than {digits:,} digits; allowed: JSON in COCO's format")]
        ) from error


def top_level(file: Path, found: Any, lists: tuple[str, ...]) -> dict[str, Any]:
    """`found`, if it is an object with these lists. Raises Damaged otherwise."""
    expected = "{" + ", ".join(f'"{name}": [...]' for name in lists) + "}"
    if not isinstance(found, dict):
        raise Damaged([Problem(file, None, f"holds {worded(found)}; allowed: {expected}")])
    for name in lists:
        if name not in found:
            raise Damaged([Problem(file, None, f'has no "{name}"; allowed: {expected}')])
        if not isinstance(found[name], list):
            raise Damaged([Problem(file, None, f'has "{name}": {worded(found[name])}; allowed: {expected}')])
    return found


def check_entries(file: Path, text: str, found: dict[str, Any], fields: dict[str, dict[str, str]]) -> None:
    """Raises Damaged where an entry of one of the lists lacks a field or has one of another type."""
    problems: list[Problem] = []
    for name, wanted in fields.items():
        problems += located(file, text, name, entry_problems(name, found[name], wanted))
    if problems:
        raise Damaged(problems)


def entry_problems(name: str, entries: list[Any], wanted: dict[str, str]) -> Iterator[tuple[int, str]]:
    """(number of the entry, what is wrong with it)."""
    if plainly_fit(entries, wanted):
        return
    fits = [(field, FITS[kind], kind) for field, kind in wanted.items()]
    expected = "{" + ", ".join(f'"{field}": {kind}' for field, kind in wanted.items()) + "}"
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield number, f"{name}[{number}] is {worded(entry)}; allowed: {expected}"
            continue
        for field, fit, kind in fits:
            if field not in entry:
                yield number, f'{name}[{number}] has no "{field}"; allowed: {expected}'
                break
            if not fit(entry[field]):
                yield number, f'{name}[{number}] has "{field}": {worded(entry[field])}; allowed: {kind}'
                break


def other_names(categories: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """(number of the category, what is wrong with it) for each one whose id an earlier category has under another
    name.
    """
    names: dict[Identifier, str] = {}
    for number, category in enumerate(categories):
        if names.setdefault(category["id"], category["name"]) != category["name"]:
            what = (
                f'has "id": {worded(category["id"])} and "name": {worded(category["name"])}, but an earlier '
                f"category with this id has another name"
            )
            yield number, f"categories[{number}] {what}; allowed: one name for each id"


def plainly_fit(entries: list[Any], wanted: dict[str, str]) -> bool:
    """Whether all entries are certainly without a fault; False where that is not certain. This test of whole columns is
    much faster than one of each entry.
    """
    try:
        columns = {field: list(map(itemgetter(field), entries)) for field in wanted}
        finite = all(
            math.isfinite(value) for field, kind in wanted.items() if kind == NUMBER for value in columns[field]
        )
        named = all(
            value.isprintable() and value.strip()
            for field, kind in wanted.items()
            if kind == NAME
            for value in columns[field]
        )
        return finite and named and all(set(map(type, columns[field])) <= SURE[kind] for field, kind in wanted.items())
    except (LookupError, TypeError, AttributeError, OverflowError):
        return False


def check_kinds(
    file: Path, text: str, columns: list[tuple[str, str, list[dict[str, Any]]]], first: type | None = None
) -> None:
    """Raises Damaged where ids that are compared with each other are numbers in some entries and texts in others: 2 and
    "2" are different ids.

    columns: (list, field, entries) of these ids. first: their type in the captions file; None: the type of the first of
    them.
    """
    where = "before it" if first is None else "in the captions file"
    for name, field, entries in columns:
        first = first or next((type(entry[field]) for entry in entries), None)
        if set(map(type, map(itemgetter(field), entries))) <= {first}:
            continue
        others = (
            (
                number,
                f'{name}[{number}] has "{field}": {worded(entry[field])}, but the ids {where} are '
                f"{KINDS_OF_IDS[first]}; allowed: one kind",
            )
            for number, entry in enumerate(entries)
            if type(entry[field]) is not first
        )
        raise_if_any(file, text, name, others)


def is_identifier(value: Any) -> bool:
    """Whether a value can name an image, a caption or a category."""
    return type(value) in (int, str)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


FITS: dict[str, Callable[[Any], bool]] = {
    IDENTIFIER: is_identifier,
    TEXT: lambda value: isinstance(value, str),
    NAME: lambda value: isinstance(value, str) and bool(clean(value)),
    NUMBER: is_number,
}
# For each kind of field the types whose values fit, apart from the conditions that `plainly_fit` tests itself.
SURE: dict[str, set[type]] = {IDENTIFIER: {int, str}, TEXT: {str}, NAME: {str}, NUMBER: {int, float}}
KINDS_OF_IDS = {int: "numbers", str: "texts"}
