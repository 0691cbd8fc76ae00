"""metrics.csv: one row per entry, columns in order of first appearance, no wall-clock values, so that equal runs give
equal files.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from model.record.files import append, write_whole

Row = dict[str, str]


class Journal:
    """Appends rows of numbers to a CSV file; a new column rewrites the file whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.rows = 0

    def append(self, row: dict[str, float | int]) -> None:
        """Adds one row; its values are written with every digit that tells floats apart."""
        text = {key: repr(value) for key, value in row.items()}
        new = [key for key in text if key not in self.columns]
        if new:
            kept = read_rows(self.path)[: self.rows]
            self.columns += new
            write_whole(self.path, as_csv(self.columns, [*kept, text]))
        else:
            append(self.path, as_csv(self.columns, [text], header=False))
        self.rows += 1

    def rewind(self, rows: int) -> None:
        """Goes back to the first `rows` rows: what a checkpoint knows of. Later rows will be written again."""
        kept = read_rows(self.path)[:rows]
        self.columns = list(dict.fromkeys(key for row in kept for key in row))
        self.rows = len(kept)
        write_whole(self.path, as_csv(self.columns, kept) if kept else "")


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics file, each without its empty cells; none where there is no file. A row cut by a kill is
    left out.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return [{key: value for key, value in row.items() if value not in (None, "")} for row in csv.DictReader(whole)]


def sound_steps(lines: list[str]) -> list[int | None]:
    """The optimizer step of each line, None of the header, as far as the lines are as `Journal` writes them."""
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


def as_csv(columns: list[str], rows: list[Row], *, header: bool = True) -> str:
    """CSV text with Unix line ends."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
