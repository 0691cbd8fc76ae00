"""Arrays in the user's cache folder that describe a file, for later runs and other processes.

A cached file begins with one line of JSON: `rules`, the version of the format; `path`, `stamp` and `settings`, what the
arrays describe; `facts`, further JSON; and `columns`, name -> [dtype, shape]. The columns follow, each from a multiple
of 64 bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.file_lock import FileLock
from model.data.picture_cache_file import RULES, FileStamp, remove_old
from model.record.files import write_whole
from model.user_cache import cache_folder, is_private

ALIGNMENT = 64
DTYPES = ("uint8", "int32", "int64")


class Arrays(NamedTuple):
    """Arrays, and facts that are no arrays."""

    columns: dict[str, NDArray]
    """Of one of the types DTYPES."""
    facts: dict[str, Any]
    """Plain data, as JSON holds them."""
    lasting: bool = True
    """Whether later calls may use them."""


class CacheKey(NamedTuple):
    """What cached arrays describe."""

    kind: str
    path: str
    """The absolute path of the described file."""
    stamp: FileStamp
    settings: str = ""
    """All else that determines the arrays."""

    @property
    def file(self) -> Path:
        """The cached file. It is replaced if the described file changes."""
        name = hashlib.sha256(os.fsencode(f"{self.path}\n{self.settings}")).hexdigest()[:24]
        return cache_folder() / "shards" / f"{name}.{self.kind}.arrays"

    def header(self) -> dict[str, Any]:
        """Returns what the header of the cached file says of the described file."""
        return {"rules": RULES, "path": ascii(self.path), "stamp": list(self.stamp), "settings": self.settings}


def cached_arrays(key: CacheKey, compute: Callable[[], Arrays], on_wait: Callable[[], None]) -> Arrays:
    """Returns what `compute` returns, from an earlier call if there is one.

    While one process computes, others that need the same arrays call `on_wait` and wait. Errors of the file system are
    ignored, because the next call can compute the arrays again.
    """
    known = load(key)
    if known is not None:
        return known
    lock = FileLock(key.file.with_name(f"{key.file.name}.lock"))
    with contextlib.suppress(OSError):  # the cache has no locks or cannot be written: this process does not wait
        key.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(on_wait)
    try:
        known = load(key)
        if known is not None:
            return known
        computed = compute()
        if computed.lasting:
            with contextlib.suppress(OSError):
                write_whole(key.file, as_bytes(key, computed))
        return computed
    finally:
        with contextlib.suppress(OSError):
            lock.release()


def forget_unused() -> None:
    """Removes cached files that no run has used for a long time."""
    with contextlib.suppress(OSError):
        remove_old(cache_folder() / "shards")


def as_bytes(key: CacheKey, arrays: Arrays) -> bytes:
    """Returns the content of the cached file."""
    columns = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.columns.items()}
    parts = [(json.dumps({**key.header(), "facts": arrays.facts, "columns": columns}) + "\n").encode()]
    for array in arrays.columns.values():
        parts += [bytes(-len(parts[-1]) % ALIGNMENT), np.ascontiguousarray(array).tobytes()]
    return b"".join(parts)


def load(key: CacheKey) -> Arrays | None:
    """Returns the arrays in the cached file, mapped into memory, and marks the file as used. None if the file is
    missing, damaged, not private, or describes another state of its file.
    """
    try:
        if not is_private(key.file):
            return None
        with key.file.open("rb") as file:
            line = file.readline()
            header = json.loads(line)
            if {name: header[name] for name in key.header()} != key.header():
                return None
            content = np.asarray(np.memmap(file, np.uint8, "r"))
        columns, position = {}, len(line)
        for name, (dtype, shape) in header["columns"].items():
            position += -position % ALIGNMENT
            size = math.prod(shape) * np.dtype(DTYPES[DTYPES.index(dtype)]).itemsize
            columns[name] = content[position : position + size].view(dtype).reshape(shape)
            position += size
        if position != len(content):
            return None
        os.utime(key.file)
        return Arrays(columns, header["facts"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
