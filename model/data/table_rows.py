"""Makes rows from a table: several lines of the table that name the same picture are the captions of one row."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.annotation_problems import MOST_PROBLEMS, DamagedAnnotations, Problem, damaged_file
from model.data.part_report import PartReport, plural
from model.data.row_store import RowStore, store_rows
from model.data.table_files import TableRow, read_table
from model.data.table_left_out import at_line
from model.data.table_values import BadValue, Columns, Entry, read_entry
from model.data.text import clean, has_lone_surrogate, one_line
from model.errors import ConfigError


@dataclass(slots=True)
class Picture:
    """A picture of a table, with the captions of all lines that name it."""

    line: int
    """The first of these lines."""
    name: str
    split: str | None
    label: str | None
    captions: list[str]
    """As a model reads them, each with a word."""
    languages: list[str]
    """The language of each caption; empty texts if the table has no column of languages."""


class TableContent(NamedTuple):
    """The rows of a table: the pictures with enough captions, in the order of their first lines. Their files have not
    been examined.
    """

    store: RowStore
    """Path of the picture, as in the table, and captions of each row."""
    lines: NDArray
    """(N,) int32: the line of the table in which a row begins."""
    labels: NDArray
    """(N,) int32: index into the class names, -1 for a row without a class."""
    splits: NDArray
    """(N,) text: the split of each row; an empty text if the table has no column of splits."""
    class_names: tuple[str, ...] | None
    """None if the table has no column of labels."""
    report: PartReport
    digest: str
    """A hash of what the table says about these rows."""


def read_content(file: Path, columns: Columns, captions: int, *, repeats: bool) -> TableContent:
    """Reads a table. captions: the number of captions of a row, its first ones; repeats: whether the captions of a
    picture with fewer are repeated, otherwise the picture is left out.

    Raises DamagedAnnotations with the problems of the file, and ConfigError for a column that it does not have or if no
    picture has so many captions.
    """
    report = PartReport(file.name, file, captions, repeats=repeats, is_table=True)
    pictures = read_pictures(file, columns, report)
    report.images = len(pictures)
    rows, most = [], 0
    for picture in pictures:
        if columns.language is not None:
            order_by_language(picture)
        most = max(most, len(picture.captions))
        if picture.captions and (repeats or len(picture.captions) >= captions):
            rows.append(picture)
        else:
            report.few_captions[picture.line] = picture.name
    require_rows(file, rows, most, captions)
    if columns.language is not None:
        report.further += language_notes([tuple(picture.languages[:captions]) for picture in rows])
    names = None if columns.label is None else class_names(row.label for row in rows)
    numbers = {name: number for number, name in enumerate(names or ())}
    return TableContent(
        store_rows(((row.name, cycled(row.captions, captions)) for row in rows), captions),
        np.array([row.line for row in rows], np.int32),
        np.array([-1 if row.label is None else numbers[row.label] for row in rows], np.int32),
        np.array([row.split or "" for row in rows], "U5"),
        names,
        report,
        digest_of(rows),
    )


def read_pictures(file: Path, columns: Columns, report: PartReport) -> list[Picture]:
    """Returns the pictures that the lines of a table name."""
    table = read_table(file, list(dict.fromkeys(name for _, name in columns.used())))
    if table.columns is not None:
        check_columns(file, columns, table.columns)
    pictures: dict[str, Picture] = {}
    problems: list[Problem] = []
    found: dict[str, None] = {}
    for row in table.rows:
        if isinstance(row, TableRow):
            if table.columns is None:
                found |= dict.fromkeys(row.values)
            try:
                add(pictures, row.line, read_entry(row.values, columns), report)
                continue
            except BadValue as reason:
                row = at_line(file, row.line, str(reason))
        problems.append(row)
        if len(problems) >= MOST_PROBLEMS:
            break
    if table.columns is None and found:
        check_columns(file, columns, list(found))
    if problems:
        raise DamagedAnnotations(problems)
    if not pictures:
        raise damaged_file(file, "has no rows; allowed: one or more for each split")
    return list(pictures.values())


def check_columns(file: Path, columns: Columns, found: Sequence[str]) -> None:
    """Raises ConfigError for a column that the table does not have."""
    for key, name in columns.used():
        if name not in found:
            have = ", ".join(map(one_line, found))
            raise ConfigError(f"{key}={one_line(name)} is no column of {file}:1; allowed: {have}")


def add(pictures: dict[str, Picture], line: int, entry: Entry, report: PartReport) -> None:
    """Adds the captions of a line to its picture. Raises BadValue if the line contradicts an earlier one."""
    key = os.path.normpath(entry.name) if entry.id is None else entry.id
    texts = with_words(entry.captions, line, report)
    picture = pictures.get(key)
    if picture is None:
        pictures[key] = Picture(line, entry.name, entry.split, entry.label, texts, [entry.language] * len(texts))
        return
    same_path = os.path.normpath(picture.name) == os.path.normpath(entry.name)
    require_same("the picture", same_path, picture.name, entry.name, picture.line)
    require_same("the split", picture.split == entry.split, picture.split, entry.split, picture.line)
    same_label = None in (picture.label, entry.label) or picture.label == entry.label
    require_same("the label", same_label, picture.label, entry.label, picture.line)
    picture.label = picture.label or entry.label
    known = set(zip(picture.languages, picture.captions, strict=True))
    if all((entry.language, text) in known for text in texts):
        report.repeated_rows.append(line)
        return
    picture.captions += texts
    picture.languages += [entry.language] * len(texts)


def with_words(captions: Sequence[str], line: int, report: PartReport) -> list[str]:
    """Returns the captions of a line as a model reads them, without those that have no word."""
    texts = []
    for caption in captions:
        text = clean(caption)
        if text:
            texts.append(text)
            report.surrogates += has_lone_surrogate(caption)
        else:
            report.empty_captions.append(line)
    return texts


def require_same(what: str, same: bool, before: str | None, now: str | None, line: int) -> None:
    """Raises BadValue if a line and an earlier line of the same picture differ."""
    if not same:
        raise BadValue(
            f"{what} is {one_line(str(now))}, but {one_line(str(before))} in row {line} of the same picture or id; "
            f"allowed: the same"
        )


def order_by_language(picture: Picture) -> None:
    """Orders the captions of a picture by language. Captions of the same language keep their order."""
    pairs = sorted(zip(picture.languages, picture.captions, strict=True), key=lambda pair: pair[0])
    picture.languages, picture.captions = [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def cycled(captions: Sequence[str], count: int) -> list[str]:
    """Returns `count` captions: the first ones, from the beginning again if there are fewer."""
    return [captions[number % len(captions)] for number in range(count)]


def require_rows(file: Path, rows: Sequence[Picture], most: int, captions: int) -> None:
    """Raises ConfigError if no picture has enough captions."""
    if not rows:
        allowed = f"1 to {most}, or data.few_captions=repeat" if most else "a table with captions"
        raise ConfigError(f"data.captions={captions} is more than any picture of {file} has; allowed: {allowed}")


def class_names(labels: Iterator[str | None]) -> tuple[str, ...]:
    """Returns the different labels: whole numbers by value, and other labels in alphabetical order."""
    names = {label for label in labels if label is not None}
    whole = all(name.isascii() and name.isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))


def language_notes(languages: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yields a sentence if the captions at one position have different languages."""
    counts: Mapping[tuple[str, ...], int] = Counter(languages)
    if len(counts) > 1:
        usual = max(counts, key=lambda key: counts[key])
        others = plural(len(languages) - counts[usual], "image has", "images have")
        yield f"the captions of most images have the languages {', '.join(map(one_line, usual))}; {others} others"


def digest_of(rows: Sequence[Picture]) -> str:
    """Returns a hash of all that a table says about its rows; equal tables of different formats have equal hashes."""
    total = hashlib.blake2b(digest_size=16)
    for row in rows:
        total.update(repr((row.name, row.captions, row.split, row.label)).encode("utf-8", "surrogatepass"))
    return total.hexdigest()
