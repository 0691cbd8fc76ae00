"""Reads and writes metrics.csv: one row per entry, columns in order of first appearance. The file has no wall-clock
values, so that equal runs write equal files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.record.files import append, write_whole

TextRow = dict[str, str]
"""A row of metrics.csv: column -> cell, without the empty cells."""
STATE_KEY = "JournalCallback"
"""The key in a checkpoint for the number of rows. It is the name that earlier versions gave the callback."""


class MetricsFile:
    """Appends rows of numbers to a CSV file. A new column rewrites the whole file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.rows = 0

    def append(self, row: dict[str, float | int]) -> None:
        """Adds one row. Floats are written with all digits, so that reading returns the same float."""
        text = {key: repr(value) for key, value in row.items()}
        new = [key for key in text if key not in self.columns]
        if new:
            earlier = read_rows(self.path)[: self.rows]
            self.columns += new
            write_whole(self.path, as_csv(self.columns, [*earlier, text]))
        else:
            append(self.path, as_csv(self.columns, [text], header=False))
        self.rows += 1

    def rewind(self, rows: int) -> None:
        """Removes all rows after the first `rows`, which a checkpoint counts. The run writes the later rows again."""
        earlier = read_rows(self.path)[:rows]
        self.columns = list(dict.fromkeys(key for row in earlier for key in row))
        self.rows = len(earlier)
        write_whole(self.path, as_csv(self.columns, earlier) if earlier else "")


def read_rows(path: Path) -> list[TextRow]:
    """Returns the rows of a metrics file; none if there is no file. An incomplete last line, which a kill can leave, is
    ignored.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]
    return [{key: value for key, value in row.items() if value not in (None, "")} for row in csv.DictReader(complete)]


def sound_steps(lines: list[str]) -> list[int | None]:
    """Returns the optimizer step of each line, None for the header, up to the first line that `MetricsFile` cannot have
    written.
    """
    names = next(csv.reader(lines[:1]), [])
    if "step" not in names:
        return []
    steps: list[int | None] = [None]
    for line in lines[1:]:
        cells = next(csv.reader([line]), [])
        try:
            row = {name: float(cell) for name, cell in zip(names, cells, strict=True) if cell}
            steps.append(int(row["step"]))
        except (ValueError, KeyError):
            break
    return steps


def as_csv(columns: list[str], rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """Returns CSV text with Unix line ends."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
