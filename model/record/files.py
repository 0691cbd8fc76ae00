"""Files of a run: written so that a kill at any moment, or a full disk, leaves the old or the new one whole; moved
aside where they are damaged. Errors name the file: see model/record/disk.py.
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
# A file that is being written. The second form is that of checkpoints of earlier versions.
BEING_WRITTEN = re.compile(r"\..+\.\d+\.unfinished|\.(last|best|last_good)\.ckpt\.\d+")
# The folders, below a run's own, that `replacing` writes to.
WRITTEN_TO = ("", "checkpoints", "examples", "report")


@contextlib.contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which replaces `path` at the end of the block: it lies beside `path`, is flushed to the disk,
    and is then renamed.

    After an error it is removed, and `path` stays as it was. previous: a second name, which the file that is replaced
    gets.
    """
    beside = being_written(path)
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.is_file():
            give_name(path, previous)
        os.replace(beside, path)
    except BaseException:  # for example a full disk: an incomplete file must not take room
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces `path` by `content`. Text is written as UTF-8. Raises NotWritten."""
    data = content.encode() if isinstance(content, str) else content
    with writing(path, lambda: len(data)), replacing(path) as file:
        file.write(data)


def append(path: Path, text: str) -> None:
    """Adds `text` to the end of `path`, all of it or nothing. Raises NotWritten."""
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


def being_written(path: Path) -> Path:
    """Where this process writes what is to replace `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.unfinished")


def give_name(path: Path, other: Path) -> None:
    """Makes `other` a second name of the file `path`, or a copy of it where the file system has no hard links. Replaces
    `other` at once.
    """
    beside = being_written(other)
    beside.unlink(missing_ok=True)
    if other.is_dir():
        set_aside(other)
    try:
        try:
            os.link(path, beside)
        except OSError as error:
            if error.errno not in (
                errno.EPERM,
                errno.EMLINK,
                errno.ENOSYS,
                errno.ENOTSUP,
                errno.EOPNOTSUPP,
                errno.EACCES,
            ):
                raise
            shutil.copyfile(path, beside)
        os.replace(beside, other)
    finally:
        beside.unlink(missing_ok=True)  # it is still there where both were names of one file already


def remove_unfinished(run_dir: Path, older_than: float = -1.0) -> None:
    """Removes what killed processes were writing in a run's folder. For a time at which no other process writes there,
    or with `older_than`: only what was last written to so many seconds ago.
    """
    for name in WRITTEN_TO:
        for path in (run_dir / name).glob(".*"):
            if (
                BEING_WRITTEN.fullmatch(path.name)
                and path.is_file()
                and time.time() - path.stat().st_mtime > older_than
            ):
                path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to `<name>.damaged`, with a number where that name is taken; returns the new
    path.
    """
    names = (path.with_name(f"{path.name}.damaged{number}") for number in itertools.chain([""], itertools.count(2)))
    aside = next(name for name in names if not os.path.lexists(name))
    os.rename(path, aside)
    return aside


def is_set_aside(name: str) -> bool:
    """Whether `set_aside` gives such names."""
    return DAMAGED.fullmatch(name) is not None
