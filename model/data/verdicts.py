"""A verdict on a picture file: what is known of it, or why it cannot be used; and the file in which the verdicts on a
folder are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from model.data.pictures import Facts, NotReadable, NotThere, examine, status_of
from model.record.files import write_whole

# Verdicts of another version of these rules, or of Pillow, are not used. Raise the number when a change of `examine`
# changes verdicts.
RULES = f"1, Pillow {PIL.__version__}"
# Seconds after their last use for which the verdicts on a folder are kept.
KEPT_FOR = 180 * 24 * 3600.0

Verdict = Facts | NotReadable


class Stamp(NamedTuple):
    """Size and time of change of a file; both are equal as long as the file has not changed."""

    size: int
    changed: int
    """Time of the last change of the content, in nanoseconds."""


def stamp_of(path: str) -> Stamp | NotThere:
    """The stamp of a file, links followed, or why there is none."""
    try:
        status = status_of(path)
    except NotThere as reason:
        return reason
    return Stamp(status.st_size, status.st_mtime_ns)


def stamps_of(folder: str, names: Sequence[str]) -> list[Stamp | NotThere]:
    """`stamp_of` for files below the folder."""
    return [stamp_of(os.path.join(folder, name)) for name in names]


def verdict_on(path: str) -> Verdict:
    """The facts of a picture, or why it cannot be used."""
    try:
        return examine(path)
    except NotReadable as reason:
        return reason


def verdicts_on(folder: str, names: Sequence[str]) -> list[Verdict]:
    """`verdict_on` for files below the folder."""
    return [verdict_on(os.path.join(folder, name)) for name in names]


def load(file: Path) -> dict[str, Any]:
    """The verdicts in `file`; empty where it is missing, damaged, or made by other rules."""
    try:
        found = json.loads(file.read_bytes())
        return found["pictures"] if found["rules"] == RULES and isinstance(found["pictures"], dict) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def save(file: Path, folder: str, pictures: dict[str, Any]) -> None:
    """Replaces the verdicts in `file`, and removes files of verdicts that no run has used for a long time. An error of
    the file system is ignored, because the next run can decode the pictures again.
    """
    with contextlib.suppress(OSError):
        write_whole(file, json.dumps({"rules": RULES, "folder": folder, "pictures": pictures}))
        remove_old(file.parent)


def as_json(stamp: Stamp, verdict: Verdict) -> list[Any]:
    """A stamp and a verdict as one list for JSON."""
    return [*stamp, str(verdict)] if isinstance(verdict, NotReadable) else [*stamp, *verdict]


def from_json(kept: Any, stamp: Stamp) -> Verdict | None:
    """The verdict in a list of `as_json`; None where `kept` is no such list, or its stamp is another one."""
    match kept:
        case [size, changed, str(reason)] if (size, changed) == stamp:
            return NotReadable(reason)
        case [size, changed, str(digest), int(width), int(height), str(kind)] if (size, changed) == stamp:
            return Facts(digest, width, height, kind)
    return None


def remove_old(folder: Path) -> None:
    """Removes the files of verdicts that no run has used for KEPT_FOR seconds."""
    for file in folder.glob("*.json"):
        if time.time() - file.stat().st_mtime > KEPT_FOR:
            file.unlink(missing_ok=True)
