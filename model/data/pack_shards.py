"""Writes the shards of one split, and continues where an earlier call has stopped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from model.data.pack_samples import PackedSample, packed_samples, row_key
from model.data.shard_samples import JSON, PICTURE, read_samples
from model.data.source import Source
from model.data.tar_index import CompressedTar
from model.data.tar_writer import entry_size, with_end, write_end, write_entry
from model.errors import RunFailed
from model.record.disk import ADVICE


class ShardLimits(NamedTuple):
    """When a shard is full."""

    size: int
    """Bytes, at most, unless one sample alone is larger."""
    samples: int
    """Samples, at most."""


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Returns the path of a shard."""
    return folder / f"{split}-{number:06d}.tar"


def pack_split(
    source: Source, split: str, folder: Path, limits: ShardLimits, advance: Callable[[int], None]
) -> tuple[int, int]:
    """Writes the shards of a split. A shard is written as `.part` and renamed when it is complete. Complete shards of
    an earlier call are kept.

    advance: is called with numbers of samples that are packed. Returns the number of shards, and how many of them were
    kept. Raises RunFailed if a file cannot be written or a picture cannot be read.
    """
    first = kept = 0
    for kept in count():
        samples = complete_samples(shard_path(folder, split, kept), first)
        if samples == 0:
            break
        first += samples
        advance(samples)
    waiting: list[PackedSample] = []
    rest = packed_samples(source, split, first)
    number = kept
    while sample := waiting.pop() if waiting else next(rest, None):
        path = shard_path(folder, split, number)
        with new_file(path) as file:
            waiting = write_shard(file, sample, rest, limits, advance)
        number += 1
    shard_path(folder, split, number).with_suffix(".tar.part").unlink(missing_ok=True)
    return number, kept


def write_shard(
    file: BinaryIO,
    first: PackedSample,
    rest: Iterator[PackedSample],
    limits: ShardLimits,
    advance: Callable[[int], None],
) -> list[PackedSample]:
    """Writes samples until the shard is full. Returns the sample that no longer fits, if there is one."""
    sample: PackedSample | None = first
    written = 0
    while sample is not None:
        size = sum(entry_size(len(content)) for content in sample.files.values())
        if written and with_end(file.tell() + size) > limits.size:
            break
        for name, content in sample.files.items():
            write_entry(file, name, content)
        written += 1
        advance(1)
        sample = next(rest, None) if written < limits.samples else None
    write_end(file)
    return [] if sample is None else [sample]


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Opens `<path>.part` for writing, and renames it to `path` at the end of the block. Raises RunFailed if it cannot
    be written; on a full disk, its space is freed.
    """
    part = path.with_suffix(".tar.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        advice = ADVICE.get(error.errno or 0, "choose a folder that can be written to")
        raise RunFailed(
            f"{path} cannot be written ({error.strerror})\n{advice}, then give the same command again: complete shards "
            "are kept"
        ) from error


def complete_samples(path: Path, first: int) -> int:
    """Returns the number of samples of a shard of an earlier call. 0 if there is no such shard, or if it does not have
    whole samples from row `first` on.
    """
    try:
        samples = read_samples(str(path))
    except (OSError, CompressedTar):
        return 0
    names = [name.partition(".")[0] for name in samples.names.texts()]
    whole = bool((samples.places[:, [PICTURE, JSON], 0] >= 0).all())
    expected = [row_key(row) for row in range(first, first + len(names))]
    return len(names) if samples.problem is None and whole and names == expected else 0
