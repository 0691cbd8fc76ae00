"""data.json in a run's folder: which rows the run has. A continued run has the same ones, whatever has happened to the files meanwhile."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from model.disk import writing
from model.report.files import write_whole

log = logging.getLogger(__name__)
FILE = "data.json"


def write(folder: Path, record: dict[str, Any]) -> None:
    """Keeps a source's record with the run. Raises NotWritten."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, json.dumps(record, indent=1) + "\n")


def read(folder: Path) -> dict[str, Any] | None:
    """The record that was kept; None where there is none, as in runs of earlier versions, or it is damaged: the files are then looked at again."""
    try:
        found = json.loads((folder / FILE).read_bytes())
        images, left_out = found["images"], found["left_out"]
        whole = all(isinstance(count, int) for count in images.values()) and all(isinstance(names, dict) for names in left_out.values())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        log.warning("%s cannot be read: the pictures are looked at again", folder / FILE)
        return None
    return found
