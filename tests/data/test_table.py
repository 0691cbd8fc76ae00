"""A table gives the same batches as the same pictures in COCO's format, in each of the four formats of tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.data.batch import Batch
from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.module import CaptionData
from model.data.source import SplitSizes
from tests.data.coco_folder import write_folder
from tests.data.helpers import small_data
from tests.data.table_folder import source_of, write_table

FORMATS = ("csv", "tsv", "jsonl", "parquet")
TRAIN, HELD_OUT, CAPTIONS = 24, 8, 3
CATEGORIES = [{"id": 1, "name": "animal"}, {"id": 2, "name": "thing"}]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A COCO folder in which every third image has no label."""
    write_folder(tmp_path, train=TRAIN, val=HELD_OUT, captions=CAPTIONS)
    for name, count in (("train2017", TRAIN), ("val2017", HELD_OUT)):
        objects = [{"id": i, "image_id": i, "category_id": i % 3, "area": 1} for i in range(count) if i % 3]
        file = tmp_path / "annotations" / f"instances_{name}.json"
        file.write_text(json.dumps({"categories": CATEGORIES, "annotations": objects}))
    return tmp_path


def coco_of(folder: Path) -> Coco:
    """The source of the COCO folder."""
    return Coco(coco_parts(str(folder), "2017"), SplitSizes(None, 4, 4), captions=CAPTIONS, image_size=16)


def table_of(folder: Path, kind: str, record=None, **options):
    """The source of a table of the same pictures, with one row for each."""
    rows = []
    for name, split, count in (("train2017", "train", TRAIN), ("val2017", "validation", HELD_OUT)):
        for i in range(count):
            captions = [f"{name} picture {i} caption {k}" for k in range(CAPTIONS)]
            label = ("", "animal", "thing")[i % 3]
            rows.append({"path": f"{name}/{i:04}.png", "captions": captions, "label": label, "split": split})
    named = {"image_column": "path", "caption_columns": ["captions"], "split_column": "split", "label_column": "label"}
    sizes = {"val_size": 4, "test_size": 4, "captions": CAPTIONS}
    return source_of(write_table(folder / f"table.{kind}", rows), record, **named, **(sizes | options))


def batches_of(data: CaptionData) -> list[Batch]:
    """The batches of two epochs and of both evaluations."""
    loader = data.train_dataloader()
    return [*loader, *loader, *data.val_dataloader(), *data.test_dataloader()]


def assert_equal(batches: list[Batch], expected: list[Batch]) -> None:
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_batches_are_those_of_the_same_pictures_in_a_coco_folder(folder, kind):
    table, coco = table_of(folder, kind), coco_of(folder)
    assert (table.class_names, table.prompts) == (coco.class_names, coco.prompts)
    assert_equal(batches_of(small_data(table)), batches_of(small_data(coco)))
