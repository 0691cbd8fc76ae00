"""Which pictures of a folder can be read: each file is decoded once, and the verdict is kept for later runs in the user's cache folder.

A verdict holds for a path, a size and a time of change. Reasons of the file system (no such file, no permission) are not kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import PIL

from model.data.pictures import Facts, NotReadable, NotThere, examine
from model.report.files import write_whole
from model.user_cache import cache_folder

log = logging.getLogger(__name__)
# Of a verdict: another version of the rules for pictures, or of Pillow, may come to another one.
RULES = f"1, Pillow {PIL.__version__}"
# Files that are looked at together, and of these by one thread.
CHUNK, PIECE = 512, 16
# Seconds after which the verdicts so far are written: a killed check loses no more.
WRITE_EVERY = 10.0
# Seconds between two looks whether another process has finished its check.
PAUSE = 0.2
# Seconds for which verdicts of a folder are kept that no run asks for.
KEPT_FOR = 180 * 24 * 3600.0

Verdict = Facts | NotReadable


class Stamp(NamedTuple):
    """What tells that a file has not changed."""

    size: int
    changed: int
    """Time of the last change of the content, in ns."""


class RememberedPictures:
    """The verdicts on the pictures of one folder; a context, at whose end new verdicts are written.

    While one process examines the pictures of a folder, others that need verdicts on the same folder wait for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.examined = 0
        """Pictures that were decoded, because no verdict was known."""
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
        self._file = cache_folder() / "pictures" / f"{name}.json"
        self._known = load(self._file)
        self._written = time.monotonic()
        self._resources = contextlib.ExitStack()
        self._alone = False

    def __enter__(self) -> RememberedPictures:
        self._threads = self._resources.enter_context(ThreadPoolExecutor(min(32, usable_cores() + 4)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self.examined:
                self._write()
            elif self._known:
                with contextlib.suppress(OSError):
                    os.utime(self._file)  # in use, see KEPT_FOR
        finally:
            self._threads.shutdown(cancel_futures=True)
            self._resources.close()

    def verdicts(self, names: Iterator[str]) -> Iterator[Verdict]:
        """What is known of each picture, by its path below the folder; a picture that nothing is known of is decoded, in threads."""
        while chunk := list(islice(names, CHUNK)):
            stamps = self._in_threads(self._stamps, chunk)
            new = [name for name, stamp in zip(chunk, stamps, strict=True) if isinstance(stamp, Stamp) and self._recall(name, stamp) is None]
            if new and not self._alone:
                self._wait_for_others()
                new = [name for name, stamp in zip(chunk, stamps, strict=True) if isinstance(stamp, Stamp) and self._recall(name, stamp) is None]
            fresh = dict(zip(new, self._in_threads(self._examined, new), strict=True))
            self.examined += len(fresh)
            found = dict(zip(chunk, stamps, strict=True))
            self._known |= {name: as_json(found[name], verdict) for name, verdict in fresh.items() if not isinstance(verdict, NotThere)}
            for name, stamp in zip(chunk, stamps, strict=True):
                yield stamp if isinstance(stamp, NotThere) else fresh.get(name) or self._recall(name, stamp)
            if self.examined and time.monotonic() - self._written > WRITE_EVERY:
                self._write()

    def _in_threads(self, function: Any, names: list[str]) -> list[Any]:
        pieces = [names[first : first + PIECE] for first in range(0, len(names), PIECE)]
        return [result for results in self._threads.map(function, pieces) for result in results]

    def _stamps(self, names: list[str]) -> list[Stamp | NotThere]:
        return [stamp_of(os.path.join(self.folder, name)) for name in names]

    def _examined(self, names: list[str]) -> list[Verdict]:
        return [verdict_on(os.path.join(self.folder, name)) for name in names]

    def _recall(self, name: str, stamp: Stamp) -> Verdict | None:
        return from_json(self._known.get(name), stamp)

    def _wait_for_others(self) -> None:
        """Takes the lock of the folder's verdicts, or waits for the process that has it and then reads what that has found."""
        self._alone = True
        with contextlib.suppress(OSError):  # a file system without locks, or one that cannot be written: this process examines for itself
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._resources.enter_context(self._file.with_suffix(".lock").open("w"))
            if not locked(lock):
                log.info("another process is reading the pictures of %s: waiting for its result", self.folder)
                while not locked(lock):
                    time.sleep(PAUSE)
            self._known |= load(self._file)

    def _write(self) -> None:
        """Without the verdicts the next run decodes the pictures again: no reason to fail."""
        with contextlib.suppress(OSError):
            write_whole(self._file, json.dumps({"rules": RULES, "folder": self.folder, "pictures": self._known}))
            remove_old(self._file.parent)
        self._written = time.monotonic()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def locked(file: Any) -> bool:
    """Whether this process now has the lock of `file`. Raises OSError where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stamp_of(path: str) -> Stamp | NotThere:
    """Size and time of change of a file, links followed."""
    try:
        status = os.stat(path)
    except ValueError:
        return NotThere("has a name that no file can have")
    except OSError as error:
        return NotThere(f"cannot be opened ({error.strerror})")
    return Stamp(status.st_size, status.st_mtime_ns)


def verdict_on(path: str) -> Verdict:
    """The facts of a picture, or why it cannot be used."""
    try:
        return examine(path)
    except NotReadable as reason:
        return reason


def load(file: Path) -> dict[str, Any]:
    """The verdicts in `file`; none where it is missing, damaged, or made by other rules."""
    try:
        found = json.loads(file.read_bytes())
        return found["pictures"] if found["rules"] == RULES and isinstance(found["pictures"], dict) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def as_json(stamp: Stamp, verdict: Verdict) -> list[Any]:
    """A stamp and a verdict, plain."""
    return [*stamp, str(verdict)] if isinstance(verdict, NotReadable) else [*stamp, *verdict]


def from_json(kept: Any, stamp: Stamp) -> Verdict | None:
    """The verdict, if there is one and it was made of the file as it is now."""
    match kept:
        case [size, changed, str(reason)] if (size, changed) == stamp:
            return NotReadable(reason)
        case [size, changed, str(digest), int(width), int(height), str(kind)] if (size, changed) == stamp:
            return Facts(digest, width, height, kind)
    return None


def remove_old(folder: Path) -> None:
    """Removes verdicts that no run has asked for in a long time."""
    for file in folder.glob("*.json"):
        if time.time() - file.stat().st_mtime > KEPT_FOR:
            file.unlink(missing_ok=True)


def checked_names(names: Sequence[str]) -> Iterator[str]:
    """The names, with a bar on a terminal that counts them as they are asked for."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(names, "reading the pictures", console=console, disable=not console.is_terminal, transient=True))
