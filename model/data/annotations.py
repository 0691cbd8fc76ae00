"""Reads annotation files of COCO's format and checks every entry before it is used. Standard library only.

A `Problem` names the file, the line, the entry, its value and what is allowed. All problems of a file are collected, so
that a report can list them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from model.data.annotation_json import parse_json, read_text, require_lists
from model.data.annotation_problems import DamagedAnnotations, Problem, describe, raise_if_any, with_lines
from model.data.text import clean

# Kinds of values, as messages name them.
IDENTIFIER = "a whole number or a text"
TEXT = "a text"
NAME = "a text that is not empty"
NUMBER = "a number"

Identifier = int | str
"""The id of an image, a caption or a category."""
Entries = list[dict[str, Any]]
Fields = dict[str, str]
"""Name of a field -> its kind: IDENTIFIER, TEXT, NAME or NUMBER."""

IMAGE: Fields = {"id": IDENTIFIER, "file_name": NAME}
CAPTION: Fields = {"id": IDENTIFIER, "image_id": IDENTIFIER, "caption": TEXT}
CATEGORY: Fields = {"id": IDENTIFIER, "name": NAME}
INSTANCE: Fields = {"id": IDENTIFIER, "image_id": IDENTIFIER, "category_id": IDENTIFIER, "area": NUMBER}


class CaptionsFile(NamedTuple):
    """The checked content of a captions file."""

    images: Entries
    """With the fields of IMAGE."""
    annotations: Entries
    """With the fields of CAPTION."""

    def id_type(self) -> type | None:
        """Returns the type of the images' ids, int or str. None if there are no images."""
        return next((type(image["id"]) for image in self.images), None)


class InstancesFile(NamedTuple):
    """The checked content of an instances file."""

    categories: Entries
    """With the fields of CATEGORY."""
    annotations: Entries
    """With the fields of INSTANCE."""


def read_captions(file: Path) -> CaptionsFile:
    """Reads and checks a captions file. Raises DamagedAnnotations."""
    text = read_text(file)
    content = require_lists(file, parse_json(file, text), ("images", "annotations"))
    images, annotations = content["images"], content["annotations"]
    check_entries(file, text, content, {"images": IMAGE, "annotations": CAPTION})
    check_id_types(file, text, [("images", "id", images), ("annotations", "image_id", annotations)])
    check_id_types(file, text, [("annotations", "id", annotations)])
    return CaptionsFile(images, annotations)


def read_instances(file: Path, image_ids: type | None = None) -> InstancesFile:
    """Reads and checks an instances file. Raises DamagedAnnotations.

    image_ids: the type of the images' ids in the captions file, int or str; None if it is not known.
    """
    text = read_text(file)
    content = require_lists(file, parse_json(file, text), ("categories", "annotations"))
    categories, annotations = content["categories"], content["annotations"]
    check_entries(file, text, content, {"categories": CATEGORY, "annotations": INSTANCE})
    check_id_types(file, text, [("categories", "id", categories), ("annotations", "category_id", annotations)])
    check_id_types(file, text, [("annotations", "id", annotations)])
    check_id_types(file, text, [("annotations", "image_id", annotations)], image_ids)
    raise_if_any(file, text, "categories", category_name_problems(categories))
    raise_if_any(file, text, "annotations", category_id_problems(categories, annotations))
    return InstancesFile(categories, annotations)


def check_entries(file: Path, text: str, content: dict[str, Any], lists: dict[str, Fields]) -> None:
    """Raises DamagedAnnotations if an entry of one of `lists` lacks a field or has a field of another kind."""
    problems: list[Problem] = []
    for name, fields in lists.items():
        problems += with_lines(file, text, name, entry_problems(name, content[name], fields))
    if problems:
        raise DamagedAnnotations(problems)


def entry_problems(name: str, entries: Sequence[Any], fields: Fields) -> Iterator[tuple[int, str]]:
    """Yields (number of the entry, what is wrong with it)."""
    if certainly_valid(entries, fields):
        return
    expected = "{" + ", ".join(f'"{field}": {kind}' for field, kind in fields.items()) + "}"
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield number, f"{name}[{number}] is {describe(entry)}; allowed: {expected}"
            continue
        for field, kind in fields.items():
            if field not in entry:
                yield number, f'{name}[{number}] has no "{field}"; allowed: {expected}'
                break
            if not VALIDATORS[kind](entry[field]):
                yield number, f'{name}[{number}] has "{field}": {describe(entry[field])}; allowed: {kind}'
                break


def certainly_valid(entries: Sequence[Any], fields: Fields) -> bool:
    """Returns whether all entries are certainly valid; False if that is not certain. This test of whole columns is much
    faster than a test of each entry.
    """
    try:
        columns = {field: list(map(itemgetter(field), entries)) for field in fields}
        return all(
            set(map(type, columns[field])) <= CERTAIN_TYPES[kind]
            and (kind not in CERTAIN_TESTS or all(map(CERTAIN_TESTS[kind], columns[field])))
            for field, kind in fields.items()
        )
    except (LookupError, TypeError, AttributeError, OverflowError):
        return False


def category_name_problems(categories: Entries) -> Iterator[tuple[int, str]]:
    """Yields (number of the category, what is wrong with it) for each category whose id an earlier category has under
    another name.
    """
    names: dict[Identifier, str] = {}
    for number, category in enumerate(categories):
        if names.setdefault(category["id"], category["name"]) != category["name"]:
            yield (
                number,
                f'categories[{number}] has "id": {describe(category["id"])} and "name": {describe(category["name"])}, '
                f"but an earlier category with this id has another name; allowed: one name for each id",
            )


def category_id_problems(categories: Entries, annotations: Entries) -> Iterator[tuple[int, str]]:
    """Yields (number of the instance, what is wrong with it) for each instance of a category that is not listed."""
    ids = {category["id"] for category in categories}
    for number, instance in enumerate(annotations):
        if instance["category_id"] not in ids:
            yield (
                number,
                f'annotations[{number}] has "category_id": {describe(instance["category_id"])}; '
                f"allowed: the id of one of the categories",
            )


def check_id_types(
    file: Path, text: str, columns: Sequence[tuple[str, str, Entries]], expected: type | None = None
) -> None:
    """Raises DamagedAnnotations if ids that are compared with each other are numbers in some entries and texts in
    others: 2 and "2" are different ids.

    columns: (list, field, entries) of these ids; expected: their type in the captions file, None for the type of the
    first id of `columns`.
    """
    where = "before it" if expected is None else "in the captions file"
    for name, field, entries in columns:
        types = list(map(type, map(itemgetter(field), entries)))
        if types:
            expected = expected or types[0]
            if set(types) != {expected}:
                raise_if_any(file, text, name, id_type_problems(name, field, entries, expected, where))


def id_type_problems(name: str, field: str, entries: Entries, expected: type, where: str) -> Iterator[tuple[int, str]]:
    """Yields (number of the entry, what is wrong with it) for each entry whose id has another type than `expected`."""
    for number, entry in enumerate(entries):
        if type(entry[field]) is not expected:
            yield (
                number,
                f'{name}[{number}] has "{field}": {describe(entry[field])}, '
                f"but the ids {where} are {ID_TYPES[expected]}; allowed: one kind",
            )


def is_identifier(value: Any) -> bool:
    """Returns whether a value can be the id of an image, a caption or a category."""
    return type(value) in (int, str)


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


# Kind of a field -> whether a value is of this kind.
VALIDATORS: dict[str, Callable[[Any], bool]] = {
    IDENTIFIER: is_identifier,
    TEXT: lambda value: isinstance(value, str),
    NAME: lambda value: isinstance(value, str) and bool(clean(value)),
    NUMBER: is_number,
}
# For `certainly_valid`: kind of a field -> types of its values, and a fast test of a value of these types, if it needs
# one.
CERTAIN_TYPES: dict[str, set[type]] = {IDENTIFIER: {int, str}, TEXT: {str}, NAME: {str}, NUMBER: {int, float}}
CERTAIN_TESTS: dict[str, Callable[[Any], bool]] = {
    NAME: lambda value: value.isprintable() and bool(value.strip()),
    NUMBER: math.isfinite,
}
ID_TYPES = {int: "numbers", str: "texts"}
