"""Decides which rows of a table each split has: by a column of the table, or by the content of the pictures."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.content_split import split_by_content
from model.data.part_report import MOST_NAMES, PartReport, join, plural
from model.data.picture_cache import PictureCache
from model.data.pictures import NotReadable
from model.data.row_ranges import as_ranges, from_ranges
from model.data.source import SPLITS, SplitSizes, check_available
from model.data.table_facts import FactsTable, NamedFacts
from model.data.table_rows import TableContent
from model.data.text import one_line
from model.errors import ConfigError

log = logging.getLogger(__name__)
Rows = dict[str, NDArray]
"""Split -> positions in the table's content, int32."""


class Selection(NamedTuple):
    """The rows of each split, and what is known about their files."""

    rows: Rows
    facts: FactsTable | None
    """None if an earlier source has examined the files."""


def select_rows(
    content: TableContent, folder: Path, sizes: SplitSizes, *, by_column: bool, progress_bar: bool
) -> Selection:
    """Examines the pictures and returns the rows of each split. by_column: whether a column of the table decides, as
    far as it names val or test. Names what is left out in the report and in the log.

    Raises ConfigError if no picture can be read, or if fewer remain than `sizes` asks for.
    """
    facts, report = FactsTable(len(content.store)), content.report
    by_column = by_column and bool((content.splits != "train").any())
    with PictureCache(folder, progress_bar=progress_bar) as cache:
        reader = Reader(content, folder, cache, facts)
        rows = rows_of_column(content, reader, sizes) if by_column else rows_by_content(content, reader, sizes)
    report.examined = cache.examined
    report.facts = NamedFacts(np.concatenate([rows[split] for split in SPLITS]), content.store.name, facts)
    if by_column and (shared := shared_pictures(content, rows, facts)):
        report.further.append(shared)
    report.log_use(log, len(report.facts))
    return Selection(rows, facts)


class Reader:
    """Finds the rows whose pictures can be read."""

    def __init__(self, content: TableContent, folder: Path, cache: PictureCache, facts: FactsTable) -> None:
        self._content, self._folder, self._cache, self.facts = content, folder, cache, facts

    def readable(self, rows: Sequence[int] | NDArray, count: int | None) -> list[int]:
        """Returns the first `count` (None: all) of `rows` whose pictures can be read, and adds the others to the
        report.
        """
        found: list[int] = []
        remaining = iter(map(int, rows))
        while block := list(islice(remaining, None if count is None else count - len(found))):
            found += self._readable_of(block)
        return found

    def _readable_of(self, rows: list[int]) -> Iterator[int]:
        names = [self._content.store.name(row) for row in rows]
        files = [file_name(self._folder, name) for name in names]
        for row, result in zip(rows, self._cache.check(files), strict=True):
            if isinstance(result, NotReadable):
                leave_out(self._content, row, str(result))
            else:
                self.facts[row] = result
                yield row


def leave_out(content: TableContent, row: int, reason: str) -> None:
    """Adds a row to the report because of its file."""
    report, name = content.report, content.store.name(row)
    report.unreadable[name] = reason
    report.lines[name] = int(content.lines[row])


def file_name(folder: Path, name: str) -> str:
    """Returns the path of a picture. A name beyond ASCII can be written in several ways (an accent with its letter, or
    behind it); if there is no file of exactly this name, returns the one that is there.
    """
    if name.isascii() or (folder / name).exists():
        return name
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((form for form in forms if (folder / form).exists()), name)


def rows_of_column(content: TableContent, reader: Reader, sizes: SplitSizes) -> Rows:
    """Returns the first readable rows of each split, as a column of the table divides them. If no row is in val, or
    none in test, both take their rows from the other: val the first ones, test the next.
    """
    own = {split: np.flatnonzero(content.splits == split) for split in SPLITS}
    what = f"images of {content.report.name} with the split"
    require_train(content, len(own["train"]))
    if len(own["val"]) and len(own["test"]):
        val = reader.readable(own["val"], sizes.val)
        test = reader.readable(own["test"], sizes.test)
        check_found("data.val_size", sizes.val, val, f"{what} val", content.report)
        check_found("data.test_size", sizes.test, test, f"{what} test", content.report)
    else:
        name = "val" if len(own["val"]) else "test"
        found = reader.readable(own[name], sizes.val + sizes.test)
        val, test = found[: sizes.val], found[sizes.val :]
        what = f"{what} {name}"
        reasons = content.report.reasons()
        check_available("data.val_size", sizes.val, len(found) - 1, f"{what}, one kept for data.test_size", reasons)
        check_available("data.test_size", sizes.test, len(test), f"{what} after those of data.val_size", reasons)
    train = reader.readable(own["train"], sizes.train)
    require_train(content, len(train))
    check_found(
        "data.train_size", sizes.train, train, f"images of {content.report.name} with the split train", content.report
    )
    return as_rows(train, val, test)


def rows_by_content(content: TableContent, reader: Reader, sizes: SplitSizes) -> Rows:
    """Examines all pictures and divides those that can be read by a hash of their content."""
    report, facts = content.report, reader.facts
    readable = reader.readable(range(len(content.store)), None)
    require_readable(report)
    what, reasons = f"images of {report.name}", report.reasons()
    check_available("data.val_size", sizes.val, len(readable) - 2, what, reasons)
    check_available("data.test_size", sizes.test, len(readable) - sizes.val - 1, f"{what} beside those of val", reasons)
    digests = [facts.digest(row) for row in readable]
    split = split_by_content(digests, sizes.val, sizes.test, sizes.train)
    train, val, test, surplus = ([readable[position] for position in positions] for positions in split)
    for row in surplus:
        name = content.store.name(row)
        report.surplus.append(name)
        report.lines[name] = int(content.lines[row])
    what = f"{what} that are no copies of images of another split"
    check_found("data.val_size", sizes.val, val, what, report)
    check_found("data.test_size", sizes.test, test, what, report)
    check_found("data.train_size", max(1, sizes.train or 0), train, what, report)
    return as_rows(train, val, test)


def as_rows(train: Sequence[int], val: Sequence[int], test: Sequence[int]) -> Rows:
    """Returns the rows of each split as arrays."""
    return {split: np.array(rows, np.int32) for split, rows in (("train", train), ("val", val), ("test", test))}


def check_found(key: str, size: int | None, found: Sequence[int], what: str, report: PartReport) -> None:
    """Raises ConfigError if a split has fewer rows than `key` asks for."""
    check_available(key, size or 0, len(found), what, report.reasons())


def require_train(content: TableContent, count: int) -> None:
    """Raises ConfigError if the training split has no rows."""
    require_readable(content.report)
    if count == 0:
        raise ConfigError(
            f"data.split_column leaves no image of {content.report.annotation_file} for train"
            f"{content.report.reasons()}; allowed: a table with rows of train, or data.split_column=null"
        )


def require_readable(report: PartReport) -> None:
    """Raises ConfigError if no picture can be read."""
    if report.unreadable and len(report.unreadable) + len(report.few_captions) >= report.images:
        name, reason = next(iter(report.unreadable.items()))
        raise ConfigError(
            f"data.root={report.annotation_file}: no image can be read ({one_line(name)} {reason}); "
            f"allowed: a table of pictures, whose relative paths start in data.images"
        )


def shared_pictures(content: TableContent, rows: Rows, facts: FactsTable) -> str | None:
    """Returns a sentence about the pictures of val and test whose content is also in train. None if there are none."""
    digests = {facts.digest(row) for row in rows["train"].tolist()}
    held_out = [*rows["val"].tolist(), *rows["test"].tolist()]
    shared = [content.store.name(row) for row in held_out if facts.digest(row) in digests]
    if not shared:
        return None
    count = plural(len(shared), "image of val and test is", "images of val and test are")
    return (
        f"{count} also in train (same file content), so that the figures of val and test are too high: "
        f"{join(map(one_line, shared), MOST_NAMES)}"
    )


def record_of(content: TableContent, rows: Rows) -> dict[str, Any]:
    """Returns plain data from which `recorded_rows` finds the same rows again."""
    return {
        "left_out": {content.report.name: content.report.unreadable},
        "table": content.digest,
        "rows": {split: as_ranges(rows[split].tolist()) for split in SPLITS},
    }


def recorded_rows(content: TableContent, record: dict[str, Any]) -> Selection:
    """Returns the rows of an earlier source. Examines no file. Raises ConfigError if the table says something else than
    it said to that source.
    """
    try:
        rows = {split: from_ranges(record["rows"][split], len(content.store)) for split in SPLITS}
        if record["table"] == content.digest:
            return Selection(rows, None)
    except (LookupError, TypeError, AttributeError, ValueError):
        pass
    raise ConfigError(
        f"data.root={content.report.annotation_file} has other rows than at the start of the run; allowed: the table "
        f"with which the run began"
    )
