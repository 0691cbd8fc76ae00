"""data=shards: the pictures and captions of WebDataset shards on a local disk, which are read by their offsets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.schema import ShardsConfig
from model.data.content_split import ContentSplit, split_by_content
from model.data.crops import Crop
from model.data.part_report import shared_images
from model.data.pictures import PictureFacts
from model.data.shard_checks import check_part, check_shared, check_size
from model.data.shard_files import OpenShards
from model.data.shard_folder import read_classes, read_normalization
from model.data.shard_labels import resolve_labels
from model.data.shard_part import PartOptions, ShardPart, read_part
from model.data.shard_patterns import split_paths
from model.data.shard_texts import TextRules
from model.data.source import SPLITS, Source, SourceOptions, SplitSizes
from model.data.squares import PictureFile, read_squares
from model.errors import ConfigError, at_least, one_of, require

log = logging.getLogger(__name__)
FEW_CAPTIONS = ("leave_out", "repeat")
# In the record: the copies that are in no split, see ContentSplit.
SURPLUS = "surplus"


class Shards:
    """Source of WebDataset shards, see `Source`.

    A split with shards of its own takes their first samples. The others are divided by the content of their pictures.
    A label is the content of a sample's file cls.
    """

    def __init__(
        self,
        paths: Mapping[str, Sequence[str]],
        sizes: SplitSizes,
        options: PartOptions,
        *,
        image_size: int,
        record: dict[str, Any] | None = None,
    ) -> None:
        """paths: the shards of the parts "train", and "val" and "test" if these have shards of their own; image_size:
        width and height of a picture in pixels; record: the record of a source of the same files, whose rows this
        source then has.

        Without a record, every picture that no earlier run has examined is decoded, and samples that cannot be used are
        left out. Raises ConfigError if fewer samples remain than `sizes` asks for.
        """
        self.captions, self.image_size = options.captions, image_size
        self._part_of = parts_of_splits(paths)
        require_same_parts(self._part_of, record)
        self._parts: dict[str, ShardPart] = {}
        for name, files in paths.items():
            known = record["left_out"].get(name, {}) if record else None
            self._parts[name] = read_part(name, files, self._needed(name, sizes), options, known)
            check_part(self._parts[name], options)
        self.part_reports = {name: part.report for name, part in self._parts.items()}
        self._rows, held_out = self._select(sizes, record)
        folder = Path(paths["train"][0]).parent
        self.normalization = read_normalization(folder)
        labels = resolve_labels([part.label_texts for part in self._parts.values()], read_classes(folder))
        self.class_names, self.prompts = labels.names, labels.prompts
        self._classes = dict(zip(self._parts, labels.classes_of, strict=True))
        self._open = OpenShards()
        self.record: dict[str, Any] | None = record or {
            "left_out": {report.name: report.unreadable for report in self.part_reports.values()},
            "held_out": held_out,
            "parts": self._part_of,
        }
        if record is None:
            self._log()

    def files(self, split: str) -> list[PictureFacts] | None:
        """Returns facts about the picture of each row. None for a source that was made from a record."""
        part = self._part(split)
        return [part.pictures.facts(row) for row in self._rows[split]] if len(part.pictures.sizes) else None

    def size(self, split: str) -> int:
        """Returns the number of samples in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns (B, 3, H, W) uint8. Raises UnreadablePictures for pictures that can no longer be read."""
        return read_squares(self.picture_files(split, indices), self.image_size, crops)

    def picture_files(self, split: str, indices: Sequence[int]) -> list[PictureFile]:
        """Returns the file of each picture, as a part of its shard."""
        part, files = self._part(split), []
        for row in self._rows[split][np.asarray(indices, np.int64)].tolist():
            offset, size = part.place[row].tolist()
            shard = part.shards[int(part.shard[row])]
            files.append(PictureFile(part.name(row), partial(self._open.part, shard, offset, size)))
        return files

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns the captions of each sample, in the order of its files."""
        part = self._part(split)
        rows = self._rows[split][np.asarray(indices, np.int64)].tolist()
        return [first_captions(part.captions(row), self.captions) for row in rows]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """Returns (B,) int64. None if the split's shards have no labels."""
        classes = self._classes[self._part_of[split]]
        if classes is None:
            return None
        return torch.from_numpy(classes[self._part(split).label[self._rows[split][np.asarray(indices, np.int64)]]])

    def matches(self, split: str) -> None:
        """Returns None: only people can tell for how many pictures a caption is true."""

    def _part(self, split: str) -> ShardPart:
        """Returns the part that has the samples of a split."""
        return self._parts[self._part_of[split]]

    def _needed(self, name: str, sizes: SplitSizes) -> int | None:
        """Returns the number of samples that a part needs. None for all, which is the case if content decides."""
        splits = [split for split in SPLITS if self._part_of[split] == name]
        return getattr(sizes, splits[0]) if len(splits) == 1 else None

    def _select(
        self, sizes: SplitSizes, record: dict[str, Any] | None
    ) -> tuple[dict[str, NDArray[np.int64]], dict[str, list[str]]]:
        """Returns the rows of each split in its part, and the names of the rows that content has held out. Raises
        ConfigError if there are too few.
        """
        rows: dict[str, NDArray[np.int64]] = {}
        names: dict[str, list[str]] = {}
        for name, part in self._parts.items():
            splits = [split for split in SPLITS if self._part_of[split] == name]
            held_out = {split: getattr(sizes, split) for split in splits if split != "train"}
            check_shared(part, splits, sizes)
            if len(splits) == 1:
                divided = {splits[0]: np.arange(len(part))}
            elif record is not None:
                divided = recorded_split(part, {name: record["held_out"][name] for name in (*held_out, SURPLUS)})
            else:
                digests = [digest.tobytes().hex() for digest in part.pictures.digests]
                divided = as_arrays(split_by_content(digests, held_out.get("val", 0), held_out.get("test", 0)))
                names |= {name: [part.name(int(row)) for row in divided[name]] for name in (*held_out, SURPLUS)}
                part.report.surplus += names[SURPLUS]
            for split in splits:
                size = getattr(sizes, split)
                check_size(part, split, len(divided[split]), size)
                rows[split] = divided[split][:size]
        return rows, names

    def _log(self) -> None:
        """Logs what is used and what is left out."""
        for part in self._parts.values():
            part.report.log_use(log, len(part))
            if part.report.name != "train" and (shared := shared_images(self.part_reports["train"], part.report)):
                log.warning("%s", shared)


def parts_of_splits(paths: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Returns split -> the part that has its samples: its own, otherwise that of val for test, otherwise train."""
    val = "val" if "val" in paths else "train"
    return {"train": "train", "val": val, "test": "test" if "test" in paths else val}


def require_same_parts(now: dict[str, str], record: dict[str, Any] | None) -> None:
    """Raises ConfigError if other splits had shards of their own when the run began.

    now: split -> the part that has its samples.
    """
    if record is not None and record.get("parts") != now:
        own = " and ".join(split for split, part in record.get("parts", {}).items() if split == part)
        raise ConfigError(
            f"data.root, data.val and data.test now name shards of {' and '.join(sorted(set(now.values())))}; allowed: "
            f"shards of {own}, as when the run began"
        )


def as_arrays(split: ContentSplit) -> dict[str, NDArray[np.int64]]:
    """Returns split, or SURPLUS, -> rows."""
    return {name: np.array(rows, np.int64) for name, rows in split._asdict().items()}


def recorded_split(part: ShardPart, names: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int64]]:
    """Returns split -> rows of the part. names: the samples that an earlier source has held out or left out."""
    wanted = {name for own in names.values() for name in own}
    found = {name: row for row, name in enumerate(part.names()) if name in wanted}
    rows = {split: np.array([found[name] for name in own if name in found], np.int64) for split, own in names.items()}
    free = np.ones(len(part), bool)
    for own in rows.values():
        free[own] = False
    return {**rows, "train": np.flatnonzero(free)}


def first_captions(captions: list[str], count: int) -> list[str]:
    """Returns `count` captions: the first ones, or all of them again and again if there are fewer."""
    return [captions[number % len(captions)] for number in range(count)]


def check(config: ShardsConfig) -> None:
    """Raises ConfigError if a shard is missing or a value is not allowed."""
    at_least("data.captions", config.captions, 1)
    one_of("data.few_captions", config.few_captions, FEW_CAPTIONS)
    require(len(config.caption_keys) > 0, "data.caption_keys", "[]", "names no key", "one or more keys of the json")
    if config.root is None:
        raise ConfigError(
            "data.root=null names no shards; allowed: a folder or pattern such as /data/train-{000..127}.tar"
        )
    split_paths(config.root, config.val, config.test)


def make(config: ShardsConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/shards.yaml) describes."""
    rules = TextRules(tuple(config.caption_keys), config.txt_lines)
    return Shards(
        split_paths(config.root, config.val, config.test),
        SplitSizes.from_config(config),
        PartOptions(rules, config.captions, config.few_captions == "repeat", options.progress_bar),
        image_size=options.image_size,
        record=options.record,
    )
