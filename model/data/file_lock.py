"""A lock that processes of one machine share through a file."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

# Seconds between two attempts to acquire the lock.
PAUSE = 0.2


class FileLock:
    """A lock on a path. `acquire` makes the file and `release` removes it.

    A process can acquire the lock on a file that another process has just removed, while a third process makes a new
    file at the same path. `acquire` therefore tries again if its file is no longer the one at the path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, on_wait: Callable[[], None]) -> None:
        """Waits until no other process has the lock. Calls `on_wait` once if it has to wait. Raises OSError if the file
        cannot be made, or if the file system has no locks.
        """
        waits = False
        while self._file is None:
            file = self._path.open("w")
            try:
                if try_lock(file) and is_file_at(file, self._path):
                    self._file = file
                    return
            finally:
                if self._file is None:
                    file.close()
            if not waits:
                on_wait()
                waits = True
            time.sleep(PAUSE)

    def release(self) -> None:
        """Removes the file and releases the lock. Does nothing if this object does not have the lock."""
        if self._file is not None:
            try:
                self._path.unlink(missing_ok=True)
            finally:
                self._file.close()
                self._file = None


def try_lock(file: IO[str]) -> bool:
    """Tries to lock `file`, and returns whether this process now has the lock. Raises OSError if the file system has no
    locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_file_at(file: IO[str], path: Path) -> bool:
    """Returns whether the open `file` is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
