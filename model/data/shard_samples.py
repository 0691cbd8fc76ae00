"""Groups the files of a shard into samples, by the names of the files, as WebDataset does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import groupby
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.array_cache import Arrays
from model.data.picture_cache_file import FileStamp
from model.data.pictures import NotReadable
from model.data.tar_index import TarMember, read_tar
from model.data.text_column import TextColumn

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
# The kinds of files of a sample, in the order of the columns of `ShardSamples.places`.
PICTURE, TXT, JSON, CLS = range(4)
TEXTS = {"txt": TXT, "json": JSON, "cls": CLS}
# Files that describe the shard and belong to no sample, and the key of the others: the path up to the first dot of the
# name. The rest is the extension.
META = re.compile(r"__[^/]*__($|/)")
NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)


class Shard(NamedTuple):
    """One tar."""

    path: str
    """The absolute path."""
    name: str
    """What messages call it."""
    stamp: FileStamp


class ShardSamples(NamedTuple):
    """The samples of a shard, in its order. N samples."""

    names: TextColumn
    """Name of the picture's file in the shard; of a sample without a picture, its key."""
    places: NDArray[np.int64]
    """(N, 4, 2) offset and size of the picture, txt, json and cls. The offset is -1 where the sample has no such file.
    """
    problem: str | None
    """Why the rest of the shard cannot be read. None if all of it can be read."""


@dataclass
class SampleFiles:
    """The files of one sample while the shard is read."""

    key: str
    name: str | None = None
    """Name of the picture's file."""
    places: list[tuple[int, int]] = field(default_factory=lambda: [(-1, 0)] * 4)

    def add(self, member: TarMember, extension: str) -> None:
        """Adds a file. Of several files of one kind, the first is kept. Further kinds are ignored."""
        kind = PICTURE if extension in PICTURES else TEXTS.get(extension)
        if kind is not None and self.places[kind][0] < 0:
            self.places[kind] = (member.offset, member.size)
            self.name = member.name if kind == PICTURE else self.name


def read_samples(path: str) -> ShardSamples:
    """Reads the headers of a shard. Raises OSError, and CompressedTar for a compressed shard."""
    content = read_tar(path)
    samples = list(grouped(content.members))
    places = np.array([sample.places for sample in samples], np.int64).reshape(-1, 4, 2)
    names = TextColumn.of(sample.name or sample.key for sample in samples)
    return ShardSamples(names, places, content.problem)


def grouped(members: Iterable[TarMember]) -> Iterator[SampleFiles]:
    """Yields the samples: files in a row with the same key. Files without an extension, and files whose name or folder
    begins and ends with `__`, are ignored.
    """
    named = (
        (match, member) for member in members if not META.match(member.name) and (match := NAME.fullmatch(member.name))
    )
    for key, files in groupby(named, key=lambda pair: pair[0].group(1)):
        sample = SampleFiles(key)
        for match, member in files:
            sample.add(member, match.group(2).lower())
        yield sample


def samples_as_arrays(samples: ShardSamples) -> Arrays:
    """Returns the samples in the form of the cache."""
    columns: dict[str, NDArray] = {"names": samples.names.content, "ends": samples.names.ends, "places": samples.places}
    return Arrays(columns, {"problem": samples.problem})


def samples_from_arrays(arrays: Arrays) -> ShardSamples:
    """Returns the samples that `samples_as_arrays` stored."""
    columns = arrays.columns
    return ShardSamples(TextColumn(columns["names"], columns["ends"]), columns["places"], arrays.facts["problem"])


def read_bytes(descriptor: int, offset: int, size: int) -> bytes:
    """Returns a part of an open file. Raises NotReadable if the file ends before."""
    content = os.pread(descriptor, size, offset)
    while 0 < len(content) < size:  # one call reads at most 2 GiB
        more = os.pread(descriptor, size - len(content), offset + len(content))
        if not more:
            break
        content += more
    if len(content) < size:
        raise NotReadable("is truncated")
    return content


@contextmanager
def opened_part(descriptor: int, offset: int, size: int) -> Iterator[BinaryIO]:
    """Opens a part of an open file for reading. Raises NotReadable if the part is empty or the file is truncated."""
    if size == 0:
        raise NotReadable("is empty")
    yield BytesIO(read_bytes(descriptor, offset, size))
