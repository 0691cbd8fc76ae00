"""Adds entries to a small COCO folder, and asserts what its source leaves out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from model.data.coco import Coco
from tests.data.test_annotations import make

Entry = dict[str, Any]
ARE_OUT = "train2017: {} images are left out"


def change(folder: Path, images: list[Entry] | None = None, notes: list[Entry] | None = None) -> Path:
    """Adds entries to the captions of train2017."""
    file = folder / "annotations" / "captions_train2017.json"
    body = json.loads(file.read_text())
    body["images"] += images or []
    body["annotations"] += notes or []
    file.write_text(json.dumps(body))
    return folder


def first_captions(source: Coco, split: str = "train") -> list[str]:
    """Returns the first caption of each row."""
    return [texts[0] for texts in source.texts(split, range(source.size(split)))]


def folder_captions(count: int) -> list[str]:
    """Returns the first `count` captions of `write_folder`."""
    return [f"train2017 picture {number} caption 0" for number in range(count)]


def assert_logged(
    folder: Path, caplog: pytest.LogCaptureFixture, expected: list[str], rows: list[str], **options: object
) -> Coco:
    """Asserts which warnings are logged and which rows are used. Returns the source."""
    with caplog.at_level(logging.WARNING, "model.data"):
        source = make(folder, **options)
    assert [record.getMessage() for record in caplog.records] == expected
    assert first_captions(source) == rows
    return source
