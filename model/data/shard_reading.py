"""Reads shards, each part of the work once: headers, texts and pictures are remembered in the user's cache folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from model.data.array_cache import Arrays, CacheKey, cached_arrays, forget_unused
from model.data.shard_pictures import ShardPictures, examine_pictures, pictures_as_arrays, pictures_from_arrays
from model.data.shard_samples import PICTURE, Shard, ShardSamples, read_samples, samples_as_arrays, samples_from_arrays
from model.data.shard_texts import ShardTexts, TextRules, read_texts, texts_as_arrays, texts_from_arrays

log = logging.getLogger(__name__)


class LoadedShard(NamedTuple):
    """All that is known of a shard."""

    shard: Shard
    samples: ShardSamples
    texts: ShardTexts
    pictures: ShardPictures | None
    """None if the pictures were not examined."""


class ByteBar:
    """A progress bar on a terminal that counts bytes."""

    def __init__(self, title: str, *, shown: bool) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(title),
            BarColumn(),
            DownloadColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
            transient=True,
        )
        self._task: TaskID = self._bar.add_task(title, total=0)
        self._done, self._total = 0, 0

    def __enter__(self) -> ByteBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, size: int) -> None:
        """Adds bytes to the total."""
        self._total += size
        self._bar.update(self._task, total=self._total)

    def advance(self, size: int) -> None:
        """Counts bytes of a file that is not yet done."""
        self._bar.advance(self._task, size)

    def finish(self, size: int) -> None:
        """Counts a whole file, whose parts may have been counted."""
        self._done += size
        self._bar.update(self._task, completed=self._done)


@dataclass
class ShardReader:
    """Reads shards."""

    rules: TextRules
    examines: bool
    """Whether pictures are decoded to find out whether they can be used."""
    bar: ByteBar
    examined: int = field(default=0, init=False)
    """Number of pictures that were decoded because no earlier run had examined them."""

    def load(self, shard: Shard) -> LoadedShard:
        """Reads a shard. Raises OSError if that is not possible, and CompressedTar."""
        samples = samples_from_arrays(
            self._remembered("samples", shard, "", lambda: samples_as_arrays(read_samples(shard.path)))
        )
        texts = texts_from_arrays(
            self._remembered(
                "texts",
                shard,
                repr(tuple(self.rules)),
                lambda: texts_as_arrays(read_texts(shard.path, samples, self.rules)),
            )
        )
        pictures = None
        if self.examines:
            pictures = pictures_from_arrays(
                self._remembered("pictures", shard, "", lambda: self._examine(shard, samples))
            )
        self.bar.finish(shard.stamp.size)
        return LoadedShard(shard, samples, texts, pictures)

    def close(self) -> None:
        """Removes results that no run has used for a long time, if this reader has added results."""
        if self.examined:
            forget_unused()

    def _remembered(self, kind: str, shard: Shard, settings: str, compute: Callable[[], Arrays]) -> Arrays:
        """Returns what an earlier run has computed, or else what `compute` returns."""
        return cached_arrays(CacheKey(kind, shard.path, shard.stamp, settings), compute, lambda: log_wait(shard))

    def _examine(self, shard: Shard, samples: ShardSamples) -> Arrays:
        """Decodes the pictures of a shard."""
        places = [(offset, size) for offset, size in samples.places[:, PICTURE].tolist()]
        self.examined += len(places)
        return pictures_as_arrays(examine_pictures(shard.path, places, self.bar.advance))


def log_wait(shard: Shard) -> None:
    """Says why this process waits."""
    log.info("another process is reading %s: waiting for its result", shard.path)
