"""Finds out which pictures of a folder can be read: each file is decoded once, and the verdict is kept for later runs
in the user's cache folder.

A verdict is valid for a path, a size and a time of change. Reasons of the file system (no such file, no permission) are
not kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from model.data.pictures import NotThere
from model.data.verdicts import Stamp, Verdict, as_json, from_json, load, save, stamps_of, verdicts_on
from model.data.workers import mapped, usable_cores
from model.errors import first_line
from model.user_cache import cache_folder

log = logging.getLogger(__name__)
# Files that one thread or worker examines at a time.
PIECE = 16
# The number of new pictures from which worker processes are started, and the most that are started.
MANY, MOST_WORKERS = 512, 16
# Seconds after which the verdicts so far are written, so that a process that is killed loses only newer ones.
WRITE_EVERY = 10.0
# Seconds between two attempts to get the lock.
PAUSE = 0.2


class RememberedPictures:
    """The verdicts on the pictures of one folder. Use it as a context manager, which writes new verdicts when it ends.

    While one process examines the pictures of a folder, others that need verdicts on the same folder wait for it.
    """

    def __init__(self, folder: Path, *, progress_bar: bool = False) -> None:
        """progress_bar: whether a terminal shows one while pictures are decoded."""
        self.folder = str(folder)
        self._progress_bar = progress_bar
        self.examined = 0
        """Number of pictures that were decoded because no verdict was known."""
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
        self._file = cache_folder() / "pictures" / f"{name}.json"
        self._known = load(self._file)
        self._written = time.monotonic()
        self._resources = contextlib.ExitStack()
        self._tried_to_lock = False

    def __enter__(self) -> RememberedPictures:
        self._threads = ThreadPoolExecutor(min(32, usable_cores() + 4))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.examined:
                self._write()
            elif self._known:
                with contextlib.suppress(OSError):
                    os.utime(self._file)  # marks the verdicts as used, see verdicts.KEPT_FOR
        finally:
            self._threads.shutdown(cancel_futures=True)
            self._resources.close()

    def verdicts(self, names: Sequence[str]) -> list[Verdict]:
        """The verdict on each of `names`, paths below the folder. Pictures without a known verdict are decoded."""
        stamps = dict(
            zip(
                names,
                chain.from_iterable(self._threads.map(partial(stamps_of, self.folder), pieces_of(names))),
                strict=True,
            )
        )
        if not self._tried_to_lock and self._unknown(stamps):
            self._wait_for_others()
        gone = self._examine(stamps, self._unknown(stamps))
        found = {
            name: stamp if isinstance(stamp, NotThere) else gone.get(name) or self._recall(name, stamp)
            for name, stamp in stamps.items()
        }
        return [found[name] for name in names]

    def _unknown(self, stamps: dict[str, Stamp | NotThere]) -> list[str]:
        """Names of the existing files without a known verdict."""
        return [
            name for name, stamp in stamps.items() if isinstance(stamp, Stamp) and self._recall(name, stamp) is None
        ]

    def _examine(self, stamps: dict[str, Stamp | NotThere], names: list[str]) -> dict[str, NotThere]:
        """Decodes pictures and keeps the verdicts. Returns the verdicts on pictures that could not be opened, which are
        not kept.
        """
        gone: dict[str, NotThere] = {}
        for name, verdict in zip(progress(names, self._progress_bar), self._decoded(names), strict=True):
            self.examined += 1
            if isinstance(verdict, NotThere):
                gone[name] = verdict
            else:
                self._known[name] = as_json(stamps[name], verdict)
            if time.monotonic() - self._written > WRITE_EVERY:
                self._write()
        return gone

    def _decoded(self, names: list[str]) -> Iterator[Verdict]:
        """Verdicts on new pictures, in order. Worker processes decode many pictures, because the threads of one process
        decode one at a time.
        """
        pieces, done = pieces_of(names), 0
        if len(names) >= MANY and usable_cores() > 1:
            try:
                for verdicts in mapped(partial(verdicts_on, self.folder), pieces, min(usable_cores(), MOST_WORKERS)):
                    done += 1
                    yield from verdicts
            except (OSError, RuntimeError, AssertionError) as error:  # AssertionError: a daemon may not start processes
                log.warning(
                    "pictures are decoded in one process, because worker processes failed (%s)", first_line(error)
                )
        yield from chain.from_iterable(self._threads.map(partial(verdicts_on, self.folder), pieces[done:]))

    def _recall(self, name: str, stamp: Stamp) -> Verdict | None:
        """The known verdict on a file; None where there is none or the file has changed."""
        return from_json(self._known.get(name), stamp)

    def _wait_for_others(self) -> None:
        """Takes the lock of the folder's verdicts. Where another process has it, waits for that process and reads its
        verdicts.
        """
        self._tried_to_lock = True
        with contextlib.suppress(OSError):  # the cache has no locks or cannot be written: this process does not wait
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._resources.enter_context(self._file.with_suffix(".lock").open("w"))
            if not locked(lock):
                log.info("another process is reading the pictures of %s: waiting for its result", self.folder)
                while not locked(lock):
                    time.sleep(PAUSE)
            self._known |= load(self._file)

    def _write(self) -> None:
        """Writes the verdicts so far."""
        save(self._file, self.folder, self._known)
        self._written = time.monotonic()


def pieces_of(names: Sequence[str]) -> list[Sequence[str]]:
    """The names in groups of PIECE."""
    return [names[first : first + PIECE] for first in range(0, len(names), PIECE)]


def locked(file: Any) -> bool:
    """Tries to lock `file`, and returns whether this process now has the lock. Raises OSError where the file system has
    no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def progress(names: Sequence[str], progress_bar: bool) -> Iterator[str]:
    """The names; on a terminal, a progress bar counts them as they are iterated, if asked for."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(
        track(
            names,
            "reading the pictures",
            console=console,
            disable=not (progress_bar and names and console.is_terminal),
            transient=True,
        )
    )
