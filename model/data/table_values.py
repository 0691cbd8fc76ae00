"""The values of a table's row as a source uses them: path, captions, split, label, language and id.

Every function raises BadValue, with what is wrong and what is allowed. Standard library only.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from model.data.annotation_problems import describe
from model.data.text import one_line

# Name of a split in a table, in lower case -> the split.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "validation", "valid", "dev"), "val"),
    "test": "test",
}
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class BadValue(ValueError):
    """A value of a row cannot be used. The text says what is wrong and what is allowed."""


class Columns(NamedTuple):
    """Names of the columns that a source reads."""

    image: str
    captions: tuple[str, ...]
    split: str | None = None
    label: str | None = None
    language: str | None = None
    id: str | None = None

    def used(self) -> list[tuple[str, str]]:
        """Returns (key of the configuration, column) for each column that is used."""
        single = (
            ("data.image_column", self.image),
            *(("data.caption_columns", name) for name in self.captions),
            ("data.split_column", self.split),
            ("data.label_column", self.label),
            ("data.language_column", self.language),
            ("data.id_column", self.id),
        )
        return [(key, name) for key, name in single if name is not None]


class Entry(NamedTuple):
    """The values of one row of a table."""

    name: str
    """The path of the picture, as the table has it."""
    captions: list[str]
    """As the table has them; some may have no word."""
    split: str | None
    label: str | None
    language: str
    id: str | None


def read_entry(values: Mapping[str, Any], columns: Columns) -> Entry:
    """Returns the values of a row."""
    return Entry(
        picture_path(columns.image, values.get(columns.image)),
        captions_of(columns.captions, values),
        None if columns.split is None else split_of(columns.split, values.get(columns.split)),
        None if columns.label is None else label_of(columns.label, values.get(columns.label)),
        "" if columns.language is None else required_text(columns.language, values.get(columns.language)),
        None if columns.id is None else identifier(columns.id, values.get(columns.id)),
    )


def picture_path(column: str, value: Any) -> str:
    """Returns the path of a picture."""
    name = required_text(column, value)
    if "\0" in name:
        raise BadValue(f"{named(column)} holds a NUL character; allowed: the path of a picture")
    if ADDRESS.match(name):
        raise BadValue(f"{named(column)} is the address {one_line(name)}; allowed: the path of a file")
    return name


def captions_of(columns: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Returns the captions of a row: those of the list in a single column, or one of each of several columns. An empty
    cell is no caption.
    """
    if len(columns) == 1:
        value = as_list(columns[0], values.get(columns[0]))
        for item in value:
            if not isinstance(item, str):
                raise BadValue(f"{named(columns[0])} lists {describe(item)}; allowed: captions, which are texts")
        return value
    texts: list[str] = []
    for column in columns:
        items = as_list(column, values.get(column))
        if len(items) > 1 or isinstance(values.get(column), list):
            raise BadValue(f"{named(column)} is a list; allowed: one caption in each of several columns")
        texts += items
    return texts


def as_list(column: str, value: Any) -> list[Any]:
    """Returns the items of a list, which may be written as JSON, or a list of a single text."""
    if value is None or value == "":
        return []
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise BadValue(f"{named(column)} is {describe_value(value)}; allowed: a caption, or a list of captions")
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [value]
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        if is_python_list(text):
            raise BadValue(
                f"{named(column)} is a list as Python prints it, {one_line(value)}; "
                f'allowed: a list in JSON, as ["a", "b"], or one caption'
            ) from None
        return [value]
    return items if isinstance(items, list) else [value]


def is_python_list(text: str) -> bool:
    """Returns whether a text is a list of texts as Python (or NumPy, without commas) prints it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def split_of(column: str, value: Any) -> str:
    """Returns the split of a row."""
    name = value.strip().casefold() if isinstance(value, str) else None
    if name not in SPLIT_NAMES:
        raise BadValue(f"{named(column)} is {describe_value(value)}; allowed: {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name]


def label_of(column: str, value: Any) -> str | None:
    """Returns the name of a row's class. None for an empty cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadValue(f"{named(column)} is {describe_value(value)}; allowed: a text, a whole number, or nothing")
    return " ".join(str(value).split()) or None


def identifier(column: str, value: Any) -> str:
    """Returns the id of a row."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return required_text(column, value)


def required_text(column: str, value: Any) -> str:
    """Returns a text that has more than white space."""
    if value is None or value == "" or (isinstance(value, str) and value.isspace()):
        raise BadValue(f"{named(column)} is empty; allowed: a text")
    if not isinstance(value, str):
        raise BadValue(f"{named(column)} is {describe_value(value)}; allowed: a text")
    return value


def named(column: str) -> str:
    """Returns a column for a message."""
    return f"column {one_line(column)}"


def describe_value(value: Any) -> str:
    """Returns a value for a message. Parquet files have values that JSON does not have, which are named by their
    type.
    """
    try:
        return describe(value)
    except TypeError:
        return f"of the type {type(value).__name__}"
