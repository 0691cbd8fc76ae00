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
from model.run import run
from tests.conftest import some
from tests.data.coco_folder import write_folder
from tests.data.helpers import small_data
from tests.data.table_folder import source_of, write_table
from tests.run.test_run import assert_same_run

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
    return source_of(write_table(folder / f"table.{kind}", rows), record, **(named | sizes | options))


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


@pytest.mark.parametrize("kind", some(FORMATS, 4))
def test_workers_make_the_same_batches(folder, kind):
    expected = batches_of(small_data(coco_of(folder)))
    assert_equal(batches_of(small_data(table_of(folder, kind), num_workers=2)), expected)


@pytest.mark.parametrize("kind", some(FORMATS, 2))
def test_a_run_resumes_within_an_epoch(folder, kind):
    """The second source is made from the record of the first, without examining a picture."""
    first = small_data(table_of(folder, kind, val_size=2, split_column=None))
    whole = batches_of(first)
    interrupted = small_data(first.source)
    loader = iter(interrupted.train_dataloader())
    before = [next(loader) for _ in range(2)]
    again = table_of(folder, kind, first.source.record, val_size=2, split_column=None)
    assert all(again.files(split) is None for split in ("train", "val", "test"))
    resumed = small_data(again)
    resumed.load_state_dict(interrupted.state_dict())
    assert_equal(before + batches_of(resumed), whole)


@pytest.mark.parametrize("form", ["several columns", "several lines", "JSON in text", "languages", "ids"])
def test_every_form_of_captions_gives_the_same_rows(folder, form):
    expected = batches_of(small_data(table_of(folder, "jsonl")))
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    options = {"caption_columns": ["captions"]}
    if form == "several columns":
        rows = [row | {f"c{k}": text for k, text in enumerate(row["captions"])} for row in rows]
        options = {"caption_columns": ["c0", "c1", "c2"]}
    elif form == "JSON in text":
        rows = [row | {"captions": json.dumps(row["captions"])} for row in rows]
    else:
        rows = [row | {"captions": text, "n": k} for row in rows for k, text in enumerate(row["captions"])]
        rows = [row | {"lang": "abc"[row["n"]], "id": row["path"][::-1]} for row in rows]
        if form == "languages":
            rows = sorted(rows, key=lambda row: row["lang"], reverse=True)
            options["language_column"] = "lang"
        if form == "ids":
            options["id_column"] = "id"
    named = {"image_column": "path", "split_column": "split", "label_column": "label"}
    sizes = {"val_size": 4, "test_size": 4, "captions": CAPTIONS}
    table = write_table(folder / "other.jsonl", rows)
    assert_equal(batches_of(small_data(source_of(table, **options, **named, **sizes))), expected)


@pytest.mark.slow
def test_metrics_of_a_run_are_those_of_a_coco_folder(folder, small, tmp_path):
    table_of(folder, "csv")
    shared = ("data.val_size=4", "data.test_size=4", "data.captions=3")
    columns = ("image_column=path", "caption_columns=[captions]", "split_column=split", "label_column=label")
    run(small("data=coco", f"data.root={folder}", *shared), tmp_path / "coco")
    table = ("data=table", f"data.root={folder / 'table.csv'}", *(f"data.{column}" for column in columns))
    run(small(*table, *shared), tmp_path / "table")
    assert_same_run(tmp_path / "coco", tmp_path / "table")
