"""The file in which the results of examining a folder's pictures are saved for later runs.

JSON: `rules`, the version that made the results; `folder`; and `pictures`, name -> [size, time of change, digest,
width, height, format], or [size, time of change, reason] for a picture that cannot be used.
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

from model.data.pictures import CheckResult, NotAccessible, NotReadable, PictureFacts, file_status
from model.record.files import write_whole

# Results of another version of these rules, or of Pillow, are not used. Raise the number if a change of `examine`
# changes results.
RULES = f"1, Pillow {PIL.__version__}"
# Seconds after their last use for which the results of a folder are kept.
LIFETIME = 180 * 24 * 3600.0
# The types of the fields of PictureFacts.
FACT_TYPES = (str, int, int, str)


class FileStamp(NamedTuple):
    """Size and time of change of a file. Both are equal as long as the file has not changed."""

    size: int
    changed: int
    """Time of the last change of the content, in nanoseconds."""


def file_stamp(path: str) -> FileStamp | NotAccessible:
    """Returns the stamp of a file, or the reason why it has none. Symbolic links are followed."""
    try:
        status = file_status(path)
    except NotAccessible as reason:
        return reason
    return FileStamp(status.st_size, status.st_mtime_ns)


def file_stamps(folder: str, names: Sequence[str]) -> list[FileStamp | NotAccessible]:
    """Returns `file_stamp` of each file below the folder."""
    return [file_stamp(os.path.join(folder, name)) for name in names]


def load(file: Path) -> dict[str, Any]:
    """Returns the results in `file`. Empty if it is missing, damaged, or made by other rules."""
    try:
        content = json.loads(file.read_bytes())
        return content["pictures"] if content["rules"] == RULES and isinstance(content["pictures"], dict) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def save(file: Path, folder: str, pictures: dict[str, Any]) -> None:
    """Replaces the results in `file`, and removes the files of folders that no run has used for a long time. Errors of
    the file system are ignored, because the next run can decode the pictures again.
    """
    with contextlib.suppress(OSError):
        write_whole(file, json.dumps({"rules": RULES, "folder": folder, "pictures": pictures}))
        remove_old(file.parent)


def as_json(stamp: FileStamp, result: CheckResult) -> list[Any]:
    """Returns a stamp and a result as one list for JSON."""
    return [*stamp, str(result)] if isinstance(result, NotReadable) else [*stamp, *result]


def from_json(value: Any, stamp: FileStamp) -> CheckResult | None:
    """Returns the result in a list of `as_json`. None if `value` is not such a list, or if its stamp is not `stamp`."""
    if not isinstance(value, list) or tuple(value[:2]) != stamp:
        return None
    if len(value) == 6:
        facts = PictureFacts(*value[2:])
        return facts if tuple(map(type, facts)) == FACT_TYPES else None
    return NotReadable(value[2]) if len(value) == 3 and isinstance(value[2], str) else None


def remove_old(folder: Path) -> None:
    """Removes files of results, of rows and of shards, and lock files that killed processes have left, after LIFETIME
    seconds without use.
    """
    for file in (entry for kind in ("json", "lock", "rows", "arrays") for entry in folder.glob(f"*.{kind}")):
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            if time.time() - file.stat().st_mtime > LIFETIME:
                file.unlink()
