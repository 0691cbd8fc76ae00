"""Finds out which pictures of a folder can be read. Each file is decoded once, and the result is saved in the user's
cache folder for later runs.

A result is valid for a path, a size and a time of change. Reasons of the file system (no such file, no permission) are
not saved.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from model.data.file_lock import FileLock
from model.data.picture_cache_file import FileStamp, as_json, file_stamps, from_json, load, save
from model.data.pictures import CheckResult, NotAccessible, check_pictures
from model.data.workers import parallel_map, usable_cores
from model.errors import first_line
from model.user_cache import cache_folder

log = logging.getLogger(__name__)
Item = TypeVar("Item")
# Number of files that one thread or worker examines at a time.
CHUNK = 16
# The most files of which one thread reads size and time of change at a time.
MOST_STAMPS = 512
# The number of new pictures from which worker processes are started, and the most processes that are started.
MANY, MOST_WORKERS = 512, 16
# Seconds after which the results so far are saved, so that a process that is killed loses only newer ones.
SAVE_EVERY = 10.0


class PictureCache:
    """The results of examining the pictures of one folder. Use it as a context manager, which saves new results when it
    ends.

    While one process examines the pictures of a folder, others that need results for the same folder wait for it.
    """

    def __init__(self, folder: Path, *, progress_bar: bool = False) -> None:
        """progress_bar: whether a terminal shows a progress bar while pictures are decoded."""
        self.folder = str(folder)
        self._progress_bar = progress_bar
        self.examined = 0
        """Number of pictures that were decoded because there was no saved result."""
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
        self._file = cache_folder() / "pictures" / f"{name}.json"
        self._lock = FileLock(self._file.with_suffix(".lock"))
        self._results = load(self._file)
        self._saved_at = time.monotonic()
        self._tried_to_lock = False

    def __enter__(self) -> PictureCache:
        self._threads = ThreadPoolExecutor(min(32, usable_cores() + 4))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.examined:
                self._save()
            elif self._results:
                with contextlib.suppress(OSError):
                    os.utime(self._file)  # marks the results as used, see picture_cache_file.LIFETIME
        finally:
            self._threads.shutdown(cancel_futures=True)
            with contextlib.suppress(OSError):
                self._lock.release()

    def check(self, names: Sequence[str]) -> list[CheckResult]:
        """Returns the result for each of `names`, paths below the folder. Decodes pictures without a saved result."""
        size = max(CHUNK, min(MOST_STAMPS, len(names) // 128))
        chunks = self._threads.map(partial(file_stamps, self.folder), in_chunks(names, size))
        results: dict[str, CheckResult] = {}
        stamps: dict[str, FileStamp] = {}
        for name, stamp in zip(names, chain.from_iterable(chunks), strict=True):
            if isinstance(stamp, NotAccessible):
                results[name] = stamp
            else:
                stamps[name] = stamp
        results |= self._saved(stamps, stamps)
        unexamined = [name for name in stamps if name not in results]
        if unexamined and not self._tried_to_lock:
            self._wait_for_others()
            results |= self._saved(unexamined, stamps)
            unexamined = [name for name in unexamined if name not in results]
        results |= self._examine(stamps, unexamined)
        return [results[name] for name in names]

    def _examine(self, stamps: dict[str, FileStamp], names: list[str]) -> dict[str, CheckResult]:
        """Decodes pictures, and adds the results to those that are saved, except for reasons of the file system.
        Returns name -> result.
        """
        results: dict[str, CheckResult] = {}
        for name, result in zip(show_progress(names, self._progress_bar), self._decode(names), strict=True):
            self.examined += 1
            results[name] = result
            if not isinstance(result, NotAccessible):
                self._results[name] = as_json(stamps[name], result)
            if time.monotonic() - self._saved_at > SAVE_EVERY:
                self._save()
        return results

    def _decode(self, names: list[str]) -> Iterator[CheckResult]:
        """Yields the results for new pictures, in order. Worker processes decode many pictures, because the threads of
        one process decode one at a time.
        """
        chunks, done = in_chunks(names), 0
        check_chunk = partial(check_pictures, self.folder)
        if len(names) >= MANY and usable_cores() > 1:
            try:
                for results in parallel_map(check_chunk, chunks, min(usable_cores(), MOST_WORKERS)):
                    done += 1
                    yield from results
            except (OSError, RuntimeError, AssertionError) as error:  # AssertionError: a daemon may not start processes
                log.warning(
                    "pictures are decoded in one process, because worker processes failed (%s)", first_line(error)
                )
        yield from chain.from_iterable(self._threads.map(check_chunk, chunks[done:]))

    def _saved(self, names: Iterable[str], stamps: dict[str, FileStamp]) -> dict[str, CheckResult]:
        """Returns name -> saved result, for those of the files that have one and have not changed since."""
        known = ((name, from_json(self._results.get(name), stamps[name])) for name in names)
        return {name: result for name, result in known if result is not None}

    def _wait_for_others(self) -> None:
        """Acquires the lock on the folder's results. If another process has it, waits for that process and loads its
        results.
        """
        self._tried_to_lock = True
        with contextlib.suppress(OSError):  # the cache has no locks or cannot be written: this process does not wait
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire(self._log_wait)
            self._results |= load(self._file)

    def _log_wait(self) -> None:
        log.info("another process is reading the pictures of %s: waiting for its result", self.folder)

    def _save(self) -> None:
        """Saves the results so far."""
        save(self._file, self.folder, self._results)
        self._saved_at = time.monotonic()


def in_chunks(items: Sequence[Item], size: int = CHUNK) -> list[Sequence[Item]]:
    """Returns the items in groups of `size`."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def show_progress(names: Sequence[str], progress_bar: bool) -> Iterator[str]:
    """Yields the names. On a terminal, a progress bar counts them, if `progress_bar` is true."""
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
