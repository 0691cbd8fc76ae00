"""data=table: pictures and captions that a CSV, TSV, JSON Lines or Parquet file lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config.schema import TableConfig
from model.data.coco import prompts_for
from model.data.crops import Crop
from model.data.part_report import PartReport
from model.data.pictures import PictureFacts
from model.data.source import Source, SourceOptions, SplitSizes
from model.data.squares import CLIP_PIXELS, PictureFile, file_at, read_squares
from model.data.table_files import table_file
from model.data.table_rows import TableContent, read_content
from model.data.table_selection import Selection, file_name, record_of, recorded_rows, select_rows
from model.data.table_values import Columns
from model.errors import ConfigError, at_least, one_of
from model.imports import collector_paused

FEW_CAPTIONS = ("leave_out", "repeat")


class TableSource:
    """Source of the pictures of a table, see `Source`. A label is the value of the column of labels.

    Texts are memory-mapped. A process holds fewer than 100 bytes a row beyond texts and paths.
    """

    normalization = CLIP_PIXELS

    def __init__(self, content: TableContent, selection: Selection, folder: Path, *, captions: int, image_size: int):
        """folder: where relative paths of pictures start; captions: of each row; image_size: width and height of a
        picture in pixels.
        """
        self.captions, self.image_size = captions, image_size
        self.class_names = content.class_names
        self.prompts = None if content.class_names is None else tuple(map(prompts_for, content.class_names))
        self.part_reports: dict[str, PartReport] = {content.report.name: content.report}
        self.record: dict[str, Any] | None = record_of(content, selection.rows)
        self._folder, self._store, self._labels = folder, content.store, content.labels
        self._rows, self._facts = selection

    def files(self, split: str) -> list[PictureFacts] | None:
        """Returns facts about the picture file of each row. None for a source that was made from a record."""
        return None if self._facts is None else [self._facts[row] for row in self._rows[split].tolist()]

    def size(self, split: str) -> int:
        """Returns the number of pictures in `split`."""
        return len(self._rows[split])

    def images(self, split: str, indices: Sequence[int], crops: Sequence[Crop] | None = None) -> Tensor:
        """Returns (B, 3, H, W) uint8. Raises UnreadablePictures for files that can no longer be read."""
        return read_squares(self.picture_files(split, indices), self.image_size, crops)

    def picture_files(self, split: str, indices: Sequence[int]) -> list[PictureFile]:
        """Returns the file of each picture."""
        names = [self._store.name(row) for row in self._table_rows(split, indices)]
        return [file_at(str(self._folder / file_name(self._folder, name))) for name in names]

    def texts(self, split: str, indices: Sequence[int]) -> list[list[str]]:
        """Returns the captions of each picture, in the order of the table or of their languages."""
        return [self._store.captions(row) for row in self._table_rows(split, indices)]

    def labels(self, split: str, indices: Sequence[int]) -> Tensor | None:
        """Returns (B,) int64. None if the table has no column of labels."""
        if self.class_names is None:
            return None
        return torch.from_numpy(self._labels[self._table_rows(split, indices)].astype(np.int64))

    def matches(self, split: str) -> None:
        """Returns None: only people can tell for how many pictures a caption is true."""

    def _table_rows(self, split: str, indices: Sequence[int]) -> list[int]:
        """Returns the positions of rows in the table's content."""
        rows: list[int] = self._rows[split][np.asarray(indices, np.int64)].tolist()
        return rows


def columns_of(config: TableConfig) -> Columns:
    """Returns the columns that the configuration names."""
    return Columns(
        config.image_column,
        tuple(config.caption_columns),
        config.split_column,
        config.label_column,
        config.language_column,
        config.id_column,
    )


def picture_folder(config: TableConfig, file: Path) -> Path:
    """Returns the folder in which relative paths start. Raises ConfigError if it does not exist."""
    if config.images is None:
        return file.parent
    folder = Path(config.images).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"data.images={config.images} is not a folder; allowed: null, or a folder with the pictures")
    return folder


def check(config: TableConfig) -> None:
    """Raises ConfigError if the table or the folder of the pictures is missing, or if a key names no columns."""
    one_of("data.few_captions", config.few_captions, FEW_CAPTIONS)
    at_least("data.captions", config.captions, 1)
    if not config.caption_columns:
        raise ConfigError("data.caption_columns=[] names no column; allowed: one or more")
    if len(set(config.caption_columns)) < len(config.caption_columns):
        named = ",".join(config.caption_columns)
        raise ConfigError(f"data.caption_columns=[{named}] names a column twice; allowed: each column once")
    picture_folder(config, table_file(config.root))


def make(config: TableConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` (conf/data/table.yaml) describes."""
    with collector_paused():
        return read_source(config, options)


def read_source(config: TableConfig, options: SourceOptions) -> Source:
    """Reads the table and examines the pictures, unless an earlier source has examined them."""
    file = table_file(config.root)
    folder = picture_folder(config, file)
    content = read_content(file, columns_of(config), config.captions, repeats=config.few_captions == "repeat")
    if options.record is not None:
        selection = recorded_rows(content, options.record)
    else:
        selection = select_rows(
            content,
            folder,
            SplitSizes.from_config(config),
            by_column=config.split_column is not None,
            progress_bar=options.progress_bar,
        )
    return TableSource(content, selection, folder, captions=config.captions, image_size=options.image_size)
