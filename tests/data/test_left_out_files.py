"""Unusual picture files of a COCO folder are left out or used, and the log names them."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from model.data.source import UnreadablePictures
from model.errors import ConfigError
from tests.data.coco_folder import noise, write_captions, write_folder
from tests.data.left_out import ARE_OUT, assert_logged, change, first_captions, folder_captions
from tests.data.test_annotations import make

OUTSIDE = "lies outside the image folder (allowed with data.allow_outside=true)"
SAME = "(same file content); copies are false negatives of each other"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Returns a COCO folder with four training pictures and two of val, with one caption each."""
    return write_folder(tmp_path, train=4, val=2, captions=1, size=8)


def test_copies_are_counted_and_used(folder, caplog):
    shutil.copy(folder / "train2017" / "0001.png", folder / "train2017" / "copy.png")
    entries = [
        {"id": 10, "file_name": "copy.png"},
        {"id": 11, "file_name": "0002.png"},
        {"id": 12, "file_name": "./0002.png"},
    ]
    change(
        folder,
        entries,
        [{"id": 9_000 + entry["id"], "image_id": entry["id"], "caption": entry["file_name"]} for entry in entries],
    )
    pairs = "0001.png = copy.png, 0002.png = 0002.png = ./0002.png"
    expected = [f"train2017: 3 images are copies of others {SAME}: {pairs}"]
    assert_logged(folder, caplog, expected, [*folder_captions(4), *(entry["file_name"] for entry in entries)])


def test_pictures_in_both_parts_are_named(folder, caplog):
    shutil.copy(folder / "train2017" / "0003.png", folder / "val2017" / "0000.png")
    shared = (
        "val2017: 1 image is also in train2017 (same file content), so that the figures of val and test are too "
        "high: 0000.png"
    )
    assert_logged(folder, caplog, [shared], folder_captions(4))


@pytest.mark.parametrize("allowed", [False, True])
def test_files_outside_the_folder_are_read_only_if_allowed(folder, caplog, allowed):
    shutil.copy(folder / "train2017" / "0000.png", folder / "outside.png")
    (folder / "train2017" / "0003.png").unlink()
    (folder / "train2017" / "0003.png").symlink_to(folder / "outside.png")  # links inside the folder are trusted
    names = [str(folder / "outside.png"), "../outside.png", "deep/../../outside.png"]
    (folder / "train2017" / "deep").mkdir()
    entries = [{"id": 10 + number, "file_name": name} for number, name in enumerate(names)]
    change(
        folder,
        entries,
        [{"id": 9_000 + entry["id"], "image_id": entry["id"], "caption": entry["file_name"]} for entry in entries],
    )
    if allowed:
        copies = " = ".join(["0000.png", "0003.png", *names])
        expected = [f"train2017: 4 images are copies of others {SAME}: {copies}"]
        source = assert_logged(
            folder, caplog, expected, [*folder_captions(4), *names], allow_outside=True, image_size=8
        )
        assert source.images("train", [4])[0].permute(1, 2, 0).tolist() == noise("train2017", 0, 8).tolist()
    else:
        left_out = f"{ARE_OUT.format(3)} because of their files: {', '.join(f'{name} {OUTSIDE}' for name in names)}"
        copy = f"train2017: 1 image is a copy of another one {SAME}: 0000.png = 0003.png"
        assert_logged(folder, caplog, [left_out, copy], folder_captions(4))


def test_a_folder_whose_images_all_lie_outside_is_refused(folder):
    file = folder / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text().replace('"file_name": "', '"file_name": "../train2017/'))
    with pytest.raises(
        ConfigError,
        match=r"no image of .*train2017 can be read \(\.\./train2017/0000\.png lies outside the image folder",
    ):
        make(folder)
    assert first_captions(make(folder, allow_outside=True)) == folder_captions(4)


def test_odd_file_names_are_escaped(folder, caplog):
    names = ["line\nbreak.png", "bell\a.png", "nul\0.png", "half \ud800.png", "left \u202e.png", "x" * 300]
    shutil.copy(folder / "train2017" / "0000.png", folder / "train2017" / names[0])
    os.truncate(folder / "train2017" / names[0], 0)
    entries = [{"id": 10 + number, "file_name": name} for number, name in enumerate(names)]
    change(
        folder, entries, [{"id": 9_000 + entry["id"], "image_id": entry["id"], "caption": "odd"} for entry in entries]
    )
    missing, nameless = "cannot be opened (No such file or directory)", "has a name that no file can have"
    reasons = [
        r"line\nbreak.png is empty", rf"bell\x07.png {missing}", rf"nul\x00.png {nameless}",
        rf"half \ud800.png {nameless}",
        rf"left \u202e.png {missing}", f"{'x' * 120}… cannot be opened (File name too long)",
    ]  # fmt: skip
    assert_logged(
        folder, caplog, [f"{ARE_OUT.format(6)} because of their files: {', '.join(reasons)}"], folder_captions(4)
    )


def test_a_warning_has_at_most_twenty_names(folder, caplog):
    entries = [{"id": 100 + number, "file_name": f"{number}.png"} for number in range(1234)]
    change(
        folder, entries, [{"id": 9_000 + entry["id"], "image_id": entry["id"], "caption": "gone"} for entry in entries]
    )
    with caplog.at_level(logging.WARNING, "model.data"):
        make(folder)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{ARE_OUT.format('1,234')} because of their files: 0.png cannot be opened (")
    assert message.endswith(", 19.png cannot be opened (No such file or directory) and 1,214 more")
    assert message.count(".png") == 20


def test_a_file_that_disappears_is_named_on_one_line(folder):
    shutil.move(folder / "train2017" / "0000.png", folder / "train2017" / "line\nbreak.png")
    file = folder / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text().replace("0000.png", r"line\nbreak.png"))
    source = make(folder)
    (folder / "train2017" / "line\nbreak.png").unlink()
    with pytest.raises(UnreadablePictures) as error:
        source.images("train", [1, 0])
    assert error.value.reasons == {
        1: rf"{folder / 'train2017'}/line\nbreak.png cannot be opened (No such file or directory)"
    }


def test_a_file_of_two_images_is_a_copy(tmp_path, caplog):
    write_folder(tmp_path)
    texts = {f"{number:04}.png": ["a", "b", "c", "d", "e"] for number in range(24)}
    file = write_captions(tmp_path, "train2017", texts)
    content = json.loads(file.read_text())
    content["images"][9]["file_name"] = "0002.png"
    file.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING, logger="model.data"):
        make(tmp_path)
    assert "1 image is a copy of another one" in caplog.text
