"""The file data.json in a run's folder names the pictures that the run leaves out. A resumed run leaves out the same
pictures, even if files have changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.record.disk import writing
from model.record.files import write_whole

FILE = "data.json"


def write(folder: Path, record: dict[str, Any]) -> None:
    """Writes a source's record to the run's folder. Raises NotWritten."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, json.dumps(record, indent=1) + "\n")


def read(folder: Path) -> dict[str, Any] | None:
    """Returns the record in a run's folder. None if there is none, as in runs of earlier versions. Raises ValueError
    for a damaged file.
    """
    try:
        content = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    left_out = content.get("left_out") if isinstance(content, dict) else None
    if not isinstance(left_out, dict) or not all(isinstance(reasons, dict) for reasons in left_out.values()):
        raise ValueError("not a record of a run's data")
    return content
