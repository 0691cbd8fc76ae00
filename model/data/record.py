"""data.json in a run's folder names the pictures that the run leaves out. A continued run leaves out the same ones,
even if files have changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.record.disk import writing
from model.record.files import write_whole

FILE = "data.json"


def write(folder: Path, record: dict[str, Any]) -> None:
    """Keeps a source's record with the run. Raises NotWritten."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, json.dumps(record, indent=1) + "\n")


def read(folder: Path) -> dict[str, Any] | None:
    """The record that was kept; None where there is none, as in runs of earlier versions. Raises ValueError for a
    damaged file.
    """
    try:
        found = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    parts = found.get("left_out") if isinstance(found, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(reasons, dict) for reasons in parts.values()):
        raise ValueError("no record of a run's data")
    return found
