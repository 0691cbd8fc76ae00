"""Writes tables with small pictures, and the same data in COCO's format."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from model.data import make_source
from model.data.source import Source, SourceOptions
from tests.data.coco_folder import noise

Rows = Sequence[dict[str, Any]]
CAPTIONS = 3
DEFAULTS: dict[str, Any] = {
    "name": "table",
    "batch_size": 2,
    "num_workers": 0,
    "train_size": None,
    "val_size": 2,
    "test_size": 2,
    "captions": 1,
    "tokenizer": None,
    "vocab_size": 300,
    "images": None,
    "image_column": "file_name",
    "caption_columns": ["text"],
    "split_column": None,
    "label_column": None,
    "language_column": None,
    "id_column": None,
    "few_captions": "leave_out",
}


def config(file: Path | str | None, **options: Any) -> SimpleNamespace:
    """Returns the group `data` of the configuration of a table."""
    return SimpleNamespace(**(DEFAULTS | {"root": None if file is None else str(file)} | options))


def source_of(file: Path, record: dict[str, Any] | None = None, **options: Any) -> Source:
    """Returns the source of a table."""
    return make_source(config(file, **options), SourceOptions(16, 0, record, progress_bar=False))


def write_pictures(folder: Path, *numbers: int, size: int = 12, name: str = "{:04}.png") -> Path:
    """Writes a different picture for each number. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(noise("table", number, size)).save(folder / name.format(number))
    return folder


def write_table(file: Path, rows: Rows) -> Path:
    """Writes a table in the format that the file's name ends with. Lists are JSON in CSV and TSV. Returns `file`."""
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif file.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    else:
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, list(rows[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
            writer.writeheader()
            for row in rows:
                writer.writerow({key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()})
    return file


def simple_rows(*numbers: int) -> list[dict[str, Any]]:
    """Returns a row with a caption for each of these pictures."""
    return [{"file_name": f"{number:04}.png", "text": f"picture {number}"} for number in numbers]


def captions_of(source: Source, split: str) -> list[list[str]]:
    """Returns the captions of all rows of a split."""
    return source.texts(split, range(source.size(split)))
