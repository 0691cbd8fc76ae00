"""Odd entries and files of a COCO folder are left out or used, and the log names them."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from model.data.coco import Coco
from model.data.source import PicturesLost
from model.errors import ConfigError
from tests.data.coco_folder import noise, write_captions, write_folder
from tests.data.test_annotations import make

ENTRY = dict[str, Any]
OUTSIDE = "lies outside the image folder (allowed with data.allow_outside=true)"
SAME = "(same file content); copies are false negatives of each other"
ARE_OUT = "train2017: {} images are left out"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four pictures for training, two for val and test, each with one caption."""
    return write_folder(tmp_path, train=4, val=2, captions=1, size=8)


def change(folder: Path, images: list[ENTRY] | None = None, notes: list[ENTRY] | None = None) -> Path:
    """Adds entries to the captions of train2017."""
    file = folder / "annotations" / "captions_train2017.json"
    body = json.loads(file.read_text())
    body["images"] += images or []
    body["annotations"] += notes or []
    file.write_text(json.dumps(body))
    return folder


def first_words(source: Coco, split: str = "train") -> list[str]:
    """The first caption of each row."""
    return [texts[0] for texts in source.texts(split, range(source.size(split)))]


def own(count: int) -> list[str]:
    """The captions of `write_folder`."""
    return [f"train2017 picture {number} caption 0" for number in range(count)]


def assert_logged(
    folder: Path, caplog: pytest.LogCaptureFixture, expected: list[str], rows: list[str], **options: object
) -> Coco:
    """Asserts which warnings are logged and which rows are used."""
    with caplog.at_level(logging.WARNING, "model.data"):
        source = make(folder, **options)
    assert [record.getMessage() for record in caplog.records] == expected
    assert first_words(source) == rows
    return source


def test_of_images_with_one_id_the_first_is_used(folder, caplog):
    change(
        folder,
        [{"id": 1, "file_name": "other.png"}, {"id": 1, "file_name": "0001.png"}, {"id": 3, "file_name": "other.png"}],
    )
    assert_logged(
        folder,
        caplog,
        ["train2017: 2 image ids have several entries; the first one is used: 0001.png, 0003.png"],
        own(4),
    )


def test_captions_with_one_id_are_all_used(folder, caplog):
    change(folder, notes=[{"id": 0, "image_id": 1, "caption": "first by its number"}])
    expected = ["train2017: 1 caption has the id of another caption; all are used"]
    assert_logged(folder, caplog, expected, [own(1)[0], "first by its number", *own(4)[2:]])


def test_captions_of_images_that_are_not_listed_are_left_out(folder, caplog):
    change(folder, notes=[{"id": 7, "image_id": 99, "caption": "a"}, {"id": 8, "image_id": 98, "caption": ""}])
    assert_logged(
        folder, caplog, ["train2017: 2 captions are left out because the file does not list the image"], own(4)
    )


def test_images_with_too_few_captions_are_left_out(folder, caplog):
    notes = [{"id": 10_000 + number, "image_id": number, "caption": "second"} for number in (0, 2)]
    change(folder, [{"id": 50, "file_name": "without.png"}], notes)
    val = folder / "annotations" / "captions_val2017.json"
    body = json.loads(val.read_text())
    val.write_text(
        json.dumps(
            body
            | {"annotations": body["annotations"] + [note | {"id": 5_000 + note["id"]} for note in body["annotations"]]}
        )
    )
    expected = [
        f"{ARE_OUT.format(3)} because they have fewer than data.captions=2 captions: 0001.png, 0003.png, without.png"
    ]
    source = assert_logged(folder, caplog, expected, [own(1)[0], own(3)[2]], captions=2)
    assert source.texts("train", [0]) == [[own(1)[0], "second"]]


@pytest.mark.parametrize("text", ["", "  ", "\0", "\t\n\x1f\x7f\x85", "\u2003\u2028"])
def test_captions_without_a_word_are_left_out(folder, caplog, text):
    change(folder, notes=[{"id": 7, "image_id": 1, "caption": text}, {"id": 6, "image_id": 1, "caption": text}])
    assert_logged(folder, caplog, ["train2017: 2 captions are left out because they have no word: id 6, 7"], own(4))


def test_half_pairs_are_replaced_and_counted(folder, caplog):
    change(
        folder,
        notes=[{"id": -1, "image_id": 1, "caption": "a \ud83d dog"}, {"id": -2, "image_id": 2, "caption": "\udc4d"}],
    )
    expected = ["train2017: 2 captions contain half of a UTF-16 surrogate pair; it is replaced by U+FFFD"]
    assert_logged(folder, caplog, expected, [own(1)[0], "a \ufffd dog", "\ufffd", own(4)[3]])


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
    assert_logged(folder, caplog, expected, [*own(4), *(entry["file_name"] for entry in entries)])


def test_pictures_in_both_parts_are_named(folder, caplog):
    shutil.copy(folder / "train2017" / "0003.png", folder / "val2017" / "0000.png")
    shared = (
        "val2017: 1 image is also in train2017 (same file content), so that the figures of val and test are too "
        "high: 0000.png"
    )
    assert_logged(folder, caplog, [shared], own(4))


@pytest.mark.parametrize("allowed", [False, True])
def test_files_outside_the_folder_are_read_only_where_that_is_allowed(folder, caplog, allowed):
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
        source = assert_logged(folder, caplog, expected, [*own(4), *names], allow_outside=True, image_size=8)
        assert source.images("train", [4])[0].permute(1, 2, 0).tolist() == noise("train2017", 0, 8).tolist()
    else:
        left_out = f"{ARE_OUT.format(3)} because of their files: {', '.join(f'{name} {OUTSIDE}' for name in names)}"
        copy = f"train2017: 1 image is a copy of another one {SAME}: 0000.png = 0003.png"
        assert_logged(folder, caplog, [left_out, copy], own(4))


def test_a_folder_whose_images_all_lie_outside_is_refused(folder):
    file = folder / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text().replace('"file_name": "', '"file_name": "../train2017/'))
    with pytest.raises(
        ConfigError,
        match=r"no image of .*train2017 can be read \(\.\./train2017/0000\.png lies outside the image folder",
    ):
        make(folder)
    assert first_words(make(folder, allow_outside=True)) == own(4)


def test_ids_may_be_texts(folder, caplog):
    """Compared with each other, but not with numbers; sorted as texts."""
    images = [{"id": name, "file_name": f"{number:04}.png"} for number, name in enumerate("dacb")]
    notes = [
        {"id": f"{name}\n{k}", "image_id": name, "caption": text}
        for name in "dacb"
        for k, text in enumerate((f"of {name}", "second", " "))
    ]
    (folder / "annotations" / "captions_train2017.json").write_text(
        json.dumps({"images": images, "annotations": notes})
    )
    objects = [
        {"id": name, "image_id": name, "category_id": category, "area": 1}
        for name, category in zip("abcd", "xyxx", strict=True)
    ]
    categories = [{"id": "y", "name": "Hund"}, {"id": "x", "name": "chat"}]
    (folder / "annotations" / "instances_train2017.json").write_text(
        json.dumps({"categories": categories, "annotations": objects})
    )
    ids = ", ".join(rf"{name}\n2" for name in "abcd")
    expected = [f"train2017: 4 captions are left out because they have no word: id {ids}"]
    assert assert_logged(folder, caplog, expected, ["of a", "of b", "of c", "of d"]).labels(
        "train", range(4)
    ).tolist() == [0, 1, 0, 0]


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
    assert_logged(folder, caplog, [f"{ARE_OUT.format(6)} because of their files: {', '.join(reasons)}"], own(4))


def test_twenty_names_are_enough(folder, caplog):
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


def test_a_file_that_vanishes_is_named_on_one_line(folder):
    shutil.move(folder / "train2017" / "0000.png", folder / "train2017" / "line\nbreak.png")
    file = folder / "annotations" / "captions_train2017.json"
    file.write_text(file.read_text().replace("0000.png", r"line\nbreak.png"))
    source = make(folder)
    (folder / "train2017" / "line\nbreak.png").unlink()
    with pytest.raises(PicturesLost) as lost:
        source.images("train", [1, 0])
    assert lost.value.reasons == {
        1: rf"{folder / 'train2017'}/line\nbreak.png cannot be opened (No such file or directory)"
    }


def test_one_file_under_two_numbers_is_a_copy(tmp_path, caplog):
    write_folder(tmp_path)
    texts = {f"{number:04}.png": ["a", "b", "c", "d", "e"] for number in range(24)}
    file = write_captions(tmp_path, "train2017", texts)
    content = json.loads(file.read_text())
    content["images"][9]["file_name"] = "0002.png"
    file.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING, logger="model.data"):
        make(tmp_path)
    assert "1 image is a copy of another one" in caplog.text
