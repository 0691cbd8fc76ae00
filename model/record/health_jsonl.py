"""health.jsonl: the rows from which the gradient figures of a run are drawn, one JSON object a line. Standard library
only.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from model.record.files import append, write_whole

FILE = "health.jsonl"
DIGITS = 6
NONFINITE = ("nan", "inf", "-inf")


class History:
    """Appends rows to a file. A resumed run first removes the rows that its checkpoint does not know."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0

    def append(self, row: dict[str, Any]) -> None:
        """Adds one row. Numbers keep six significant digits; NaN and Inf become words."""
        append(self.path, json.dumps(to_json(row), allow_nan=False) + "\n")
        self.rows += 1

    def rewind(self, rows: int) -> None:
        """Keeps only the first `rows` rows."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        write_whole(self.path, "".join(lines[:rows]))
        self.rows = len(lines[:rows])


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a file with all numbers as floats; no rows without a file. Leaves out an incomplete last
    line.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line, object_hook=from_json) for line in lines if line.endswith("\n")]


def sound_steps(lines: list[str]) -> list[int | None]:
    """Returns the optimizer step of each line, up to the first line that `History` cannot have written."""
    steps: list[int | None] = []
    for line in lines:
        try:
            steps.append(int(json.loads(line)["step"]))
        except (ValueError, TypeError, KeyError):
            break
    return steps


def to_json(value: Any) -> Any:
    """Returns `value` with rounded floats, and with the words nan, inf and -inf for floats that JSON does not have."""
    if isinstance(value, dict):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
    return value


def from_json(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row with floats for the words nan, inf and -inf."""
    return {key: float(value) if value in NONFINITE else value for key, value in row.items()}
