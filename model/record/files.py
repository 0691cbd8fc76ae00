"""Writes the files of a run so that a kill at any moment, or a full disk, leaves either the old file or the new file
complete. Renames damaged files. Errors name the file: see model/record/disk.py.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from model.record.disk import writing

DAMAGED = re.compile(r".+\.damaged\d*")
# The name of an incomplete file. Earlier versions gave checkpoints the second form.
UNFINISHED = re.compile(r"\..+\.\d+\.unfinished|\.(last|best|last_good)\.ckpt\.\d+")
# The subfolders of a run that `replacing` writes to.
SUBFOLDERS = ("", "checkpoints", "examples", "report")
# The errors of os.link on file systems without hard links.
NO_HARD_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES)


@contextlib.contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` for writing. At the end of the block, flushes it to the disk and renames it
    to `path`.

    After an error, removes the temporary file and leaves `path` unchanged. previous: a name under which the replaced
    file is kept.
    """
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.is_file():
            link_or_copy(path, previous)
        os.replace(temporary, path)
    except BaseException:  # for example a full disk: an incomplete file must not use space
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes `content` to `path` and replaces the previous file. Text is written as UTF-8. Raises NotWritten."""
    data = content.encode() if isinstance(content, str) else content
    with writing(path, lambda: len(data)), replacing(path) as file:
        file.write(data)


def append(path: Path, text: str) -> None:
    """Appends `text` to `path`: all of it, or nothing after an error. Raises NotWritten."""
    data = text.encode()
    before = path.stat().st_size if path.exists() else 0
    with writing(path, lambda: len(data)):
        try:
            with open(path, "ab") as file:
                file.write(data)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, before)
            raise


def temporary_path(path: Path) -> Path:
    """Returns the path to which this process writes before it replaces `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.unfinished")


def link_or_copy(path: Path, other: Path) -> None:
    """Makes `other` a hard link to the file `path`, or a copy if the file system has no hard links. Replaces `other` in
    one step.
    """
    temporary = temporary_path(other)
    temporary.unlink(missing_ok=True)
    if other.is_dir():
        rename_damaged(other)
    try:
        try:
            os.link(path, temporary)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            shutil.copyfile(path, temporary)
        os.replace(temporary, other)
    finally:
        temporary.unlink(missing_ok=True)  # os.replace leaves it if both names already belonged to one file


def remove_unfinished(run_dir: Path, older_than: float = -1.0) -> None:
    """Removes the incomplete files that killed processes left in a run's folder.

    Call it while no other process writes to the folder, or with `older_than`: then it removes only files that were last
    written more than so many seconds ago.
    """
    for name in SUBFOLDERS:
        for path in (run_dir / name).glob(".*"):
            if UNFINISHED.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime > older_than:
                path.unlink(missing_ok=True)


def rename_damaged(path: Path) -> Path:
    """Renames a damaged file or folder to `<name>.damaged`, with a number if that name exists; returns the new path."""
    numbers = itertools.chain([""], itertools.count(2))
    candidates = (path.with_name(f"{path.name}.damaged{number}") for number in numbers)
    target = next(candidate for candidate in candidates if not os.path.lexists(candidate))
    os.rename(path, target)
    return target


def is_damaged_name(name: str) -> bool:
    """Whether `name` is a name that `rename_damaged` gives."""
    return DAMAGED.fullmatch(name) is not None
