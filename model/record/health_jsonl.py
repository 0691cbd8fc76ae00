"""health.jsonl: what the pictures of a run are drawn from, one JSON object a line. Standard library only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from model.record.files import append, write_whole

FILE = "health.jsonl"
DIGITS = 6


class History:
    """Appends rows to a file; a continued run first goes back to the rows that its checkpoint knows of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0

    def append(self, row: dict[str, Any]) -> None:
        """Adds one row; numbers keep six significant digits, NaN and Inf become words."""
        append(self.path, json.dumps(shortened(row), allow_nan=False) + "\n")
        self.rows += 1

    def rewind(self, rows: int) -> None:
        """Keeps the first `rows` rows."""
        kept = self.path.read_text(encoding="utf-8").splitlines(keepends=True)[:rows] if self.path.exists() else []
        write_whole(self.path, "".join(kept))
        self.rows = len(kept)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, numbers as floats; none where there is no file. A last line cut by a kill is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line, object_hook=with_numbers) for line in lines if line.endswith("\n")]


def sound_steps(lines: list[str]) -> list[int | None]:
    """The optimizer step of each line, as far as the lines are as `History` writes them."""
    steps: list[int | None] = []
    for line in lines:
        try:
            steps.append(int(json.loads(line)["step"]))
        except (ValueError, TypeError, KeyError):
            break
    return steps


def shortened(value: Any) -> Any:
    """`value` with its floats rounded, those that JSON does not know as the words nan, inf, -inf."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
    return value


def with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the words nan, inf, -inf as floats again."""
    return {key: float(value) if value in ("nan", "inf", "-inf") else value for key, value in row.items()}
