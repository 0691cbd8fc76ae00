"""The same 500 pictures through every kind of files give the same run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.data import make_source
from model.data.pack import main
from model.data.source import SPLITS, SourceOptions
from model.run import run
from tests.data.coco_folder import write_folder
from tests.data.table_folder import write_table
from tests.run.test_run import assert_same_run

SIZES = ("data.train_size=400", "data.val_size=50", "data.test_size=50", "data.captions=5", "data.vocab_size=300")
FORMATS = ("csv", "tsv", "jsonl", "parquet")


@pytest.fixture
def settings(tmp_path, small) -> dict[str, tuple[str, ...]]:
    """The settings of a COCO folder, of four tables that list its pictures, and of shards that were packed from it."""
    coco = ("data=coco", f"data.root={write_folder(tmp_path / 'coco', train=400, val=100)}", *SIZES)
    rows = list(rows_of(small(*coco).data))
    tables = {
        name: ("data=table", f"data.root={write_table(tmp_path / f'rows.{name}', rows)}", "data.split_column=split")
        for name in FORMATS
    }
    assert main([*coco, str(tmp_path / "packed"), "--samples", "150"]) == 0
    shards = ("data=shards", f"data.root={tmp_path / 'packed'}")
    return {"coco": coco, **{name: (*words, *SIZES) for name, words in tables.items()}, "shards": (*shards, *SIZES)}


def rows_of(config) -> Iterator[dict[str, object]]:
    """A row of a table for each picture of a COCO folder."""
    source = make_source(config, SourceOptions(16, 0, progress_bar=False))
    for split in SPLITS:
        rows = range(source.size(split))
        for file, texts in zip(source.picture_files(split, rows), source.texts(split, rows), strict=True):
            yield {"file_name": file.name, "text": texts, "split": split}


@pytest.mark.slow
def test_a_folder_four_tables_and_shards_give_the_same_run(settings, small, tmp_path):
    """Also with two workers."""
    model = ("model=clip", "model.captions=2", "loss=stock", "data.batch_size=50", "trainer.max_epochs=2")
    for name, words in settings.items():
        for workers in (0, 2):
            run(small(*model, *words, f"data.num_workers={workers}"), folder(tmp_path, name, workers))
            assert_same_run(folder(tmp_path, name, workers), folder(tmp_path, "coco", 0))


def folder(root: Path, name: str, workers: int) -> Path:
    """Where a run writes."""
    return root / f"{name}_{workers}"
