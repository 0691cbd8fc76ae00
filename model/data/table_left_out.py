"""Finds the rows of a table that a source has left out, for a report that names their lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model.data.annotation_problems import Problem
from model.data.part_report import PartReport
from model.data.text import one_line


def at_line(file: Path, line: int, text: str) -> Problem:
    """Returns a problem of one row. A Parquet file has no lines, so its rows are numbered in the text."""
    if file.suffix.lower() == ".parquet":
        return Problem(file, None, f"row {line}: {text}")
    return Problem(file, line, text)


def left_out_rows(report: PartReport) -> Iterator[Problem]:
    """Yields a Problem for each row of the table that the source of `report` has left out, in the order of the file."""
    reasons = [(report.lines[name], f"{one_line(name)} {reason}") for name, reason in report.unreadable.items()]
    reasons += [(int(line), f"{one_line(name)} has {report.few()}") for line, name in report.few_captions.items()]
    reasons += [(report.lines[name], f"{one_line(name)} has copies that fill its split") for name in report.surplus]
    reasons += [(line, "adds no caption to the picture of an earlier row") for line in report.repeated_rows]
    assert report.annotation_file is not None
    for line, text in sorted(reasons):
        yield at_line(report.annotation_file, line, text)
