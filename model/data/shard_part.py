"""The usable samples of one part of the shards, in arrays of about 80 bytes a sample beyond texts and names."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.part_report import PartReport
from model.data.picture_cache_file import file_stamp
from model.data.pictures import NotAccessible, PictureFacts
from model.data.shard_patterns import compressed_shard
from model.data.shard_pictures import ShardPictures
from model.data.shard_reading import ByteBar, LoadedShard, ShardReader
from model.data.shard_samples import PICTURE, Shard
from model.data.shard_texts import TextRules
from model.data.tar_index import CompressedTar
from model.data.text_column import TextColumn

log = logging.getLogger(__name__)


class PartOptions(NamedTuple):
    """How the samples of all parts are read."""

    rules: TextRules
    captions: int
    """`data.captions`."""
    repeats: bool
    """Whether samples with fewer captions are used, with their captions repeated."""
    progress_bar: bool


class ShardTextsOf(NamedTuple):
    """Names and captions of all samples of a shard."""

    names: TextColumn
    captions: TextColumn


@dataclass
class ShardPart:
    """The usable samples of some shards, in their order. N samples."""

    shards: list[Shard]
    texts: list[ShardTextsOf]
    """Of each shard."""
    shard: NDArray[np.int32]
    """(N,) the shard of each sample."""
    position: NDArray[np.int32]
    """(N,) position in the shard."""
    place: NDArray[np.int64]
    """(N, 2) offset and size of the picture."""
    pictures: ShardPictures
    """Facts about the N pictures; of no picture if they were not examined."""
    label: NDArray[np.int32]
    """(N,) position in `label_texts`."""
    label_texts: list[str]
    """The different contents of cls; "" for samples without that file."""
    report: PartReport
    most_captions: int
    """The largest number of captions of any sample, used or not."""

    def __len__(self) -> int:
        return len(self.shard)

    def name(self, row: int) -> str:
        """Returns the name of a sample: shard and file of the picture."""
        shard = int(self.shard[row])
        return f"{self.shards[shard].name}/{self.texts[shard].names.text(int(self.position[row]))}"

    def names(self) -> Iterator[str]:
        """Yields the names of all samples."""
        return map(self.name, range(len(self)))

    def captions(self, row: int) -> list[str]:
        """Returns all captions of a sample."""
        return self.texts[int(self.shard[row])].captions.text(int(self.position[row])).split("\n")


class PartFacts(Sequence[tuple[str, PictureFacts]]):
    """Name of each picture of a part and facts about it, made when they are read."""

    def __init__(self, part: ShardPart) -> None:
        self._part = part

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: Any) -> Any:
        """Returns the name and the facts of one row. row: a whole number, 0 or more."""
        if row >= len(self):
            raise IndexError(row)
        return self._part.name(row), self._part.pictures.facts(row)


def read_part(
    name: str,
    paths: Sequence[str],
    count: int | None,
    options: PartOptions,
    left_out: Mapping[str, str] | None = None,
) -> ShardPart:
    """Reads shards until `count` (None: all) usable samples are found.

    name: of the part; left_out: the samples that an earlier source left out, whose pictures are then not examined
    again. Raises ConfigError for a compressed shard.
    """
    report = PartReport(name, None, options.captions)
    parts: list[tuple[LoadedShard, NDArray[np.int64]]] = []
    found = 0
    with ByteBar("reading the shards", shown=options.progress_bar and left_out is None) as bar:
        reader = ShardReader(options.rules, left_out is None, bar)
        shards = list(existing(name, paths, report, bar))
        for shard in shards:
            if count is not None and found >= count:
                break
            try:
                loaded = reader.load(shard)
            except CompressedTar as error:
                raise compressed_shard(f"data.{'root' if name == 'train' else name}", shard.path, str(error)) from error
            except OSError as error:
                report.damaged_files[shard.name] = f"cannot be read ({error.strerror})"
                continue
            rows = usable_rows(loaded, options, report, left_out)
            parts.append((loaded, rows if count is None else rows[: count - found]))
            found += len(rows)
        reader.close()
    report.examined = reader.examined
    return joined(parts, report)


def existing(name: str, paths: Sequence[str], report: PartReport, bar: ByteBar) -> Iterator[Shard]:
    """Yields the shards whose files can be found. The others are added to the report."""
    names = Counter(map(os.path.basename, paths))
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    for path in paths:
        base = os.path.basename(path)
        # The name does not change if all shards are moved to another folder.
        shown = base if names[base] == 1 else os.path.relpath(path, folder)
        stamp = file_stamp(path)
        if isinstance(stamp, NotAccessible):
            report.damaged_files[shown] = str(stamp)
        elif not os.path.isfile(path):
            report.damaged_files[shown] = "is not a regular file"
        else:
            bar.expect(stamp.size)
            yield Shard(os.path.abspath(path), shown, stamp)


def usable_rows(
    loaded: LoadedShard, options: PartOptions, report: PartReport, left_out: Mapping[str, str] | None
) -> NDArray[np.int64]:
    """Returns the positions of the samples of a shard that can be used, and adds the others to the report."""
    shard, samples, texts, pictures = loaded
    if samples.problem is not None:
        report.damaged_files[shard.name] = samples.problem
    least = 1 if options.repeats else options.captions
    few = texts.counts < least
    rows, seen = [], set()
    for position, name in enumerate(f"{shard.name}/{file}" for file in samples.names.texts()):
        reason = texts.problems.get(position)
        if pictures is not None and position in pictures.reasons:
            reason = str(pictures.reasons[position])
        if left_out is not None and name in left_out:
            reason = left_out[name]
        if name in seen:
            report.repeated_images.append(name)
        elif reason is not None:
            report.unreadable[name] = reason
        elif few[position]:
            report.few_captions[report.images + position] = name
        else:
            rows.append(position)
        seen.add(name)
    report.images += len(few)
    report.empty_captions += [f"{shard.name}/{samples.names.text(position)}" for position in texts.empty]
    report.surrogates += texts.surrogates
    return np.array(rows, np.int64)


def joined(parts: Sequence[tuple[LoadedShard, NDArray[np.int64]]], report: PartReport) -> ShardPart:
    """Returns the samples of all shards as one part."""
    examined = [(loaded.pictures, rows) for loaded, rows in parts if loaded.pictures is not None]
    pictures = ShardPictures(
        np.concatenate([np.zeros((0, 16), np.uint8), *(one.digests[rows] for one, rows in examined)]),
        np.concatenate([np.zeros((0, 3), np.int32), *(one.sizes[rows] for one, rows in examined)]),
        {},
    )
    label_texts: dict[str, int] = {}
    labels = [np.zeros(0, np.int32)]
    for loaded, rows in parts:
        every = list(loaded.texts.labels.texts())
        labels.append(np.array([label_texts.setdefault(every[row], len(label_texts)) for row in rows], np.int32))
    part = ShardPart(
        [loaded.shard for loaded, _ in parts],
        [ShardTextsOf(loaded.samples.names, loaded.texts.captions) for loaded, _ in parts],
        np.concatenate(
            [np.zeros(0, np.int32), *(np.full(len(rows), at, np.int32) for at, (_, rows) in enumerate(parts))]
        ),
        np.concatenate([np.zeros(0, np.int32), *(rows.astype(np.int32) for _, rows in parts)]),
        np.concatenate([np.zeros((0, 2), np.int64), *(one.samples.places[rows, PICTURE] for one, rows in parts)]),
        pictures,
        np.concatenate(labels),
        list(label_texts),
        report,
        max((int(loaded.texts.counts.max(initial=0)) for loaded, _ in parts), default=0),
    )
    if examined:
        report.facts = PartFacts(part)
    return part
