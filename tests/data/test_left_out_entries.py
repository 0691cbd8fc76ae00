"""Unusual entries of annotation files are left out or used, and the log names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.coco_folder import write_folder
from tests.data.left_out import ARE_OUT, assert_logged, change, folder_captions


@pytest.fixture
def folder(tmp_path) -> Path:
    """Returns a COCO folder with four training pictures and two of val, with one caption each."""
    return write_folder(tmp_path, train=4, val=2, captions=1, size=8)


def test_the_first_image_of_an_id_is_used(folder, caplog):
    change(
        folder,
        [{"id": 1, "file_name": "other.png"}, {"id": 1, "file_name": "0001.png"}, {"id": 3, "file_name": "other.png"}],
    )
    assert_logged(
        folder,
        caplog,
        ["train2017: 2 image ids have several entries; the first one is used: 0001.png, 0003.png"],
        folder_captions(4),
    )


def test_all_captions_of_an_id_are_used(folder, caplog):
    change(folder, notes=[{"id": 0, "image_id": 1, "caption": "first by its number"}])
    expected = ["train2017: 1 caption has the id of another caption; all are used"]
    assert_logged(folder, caplog, expected, [folder_captions(1)[0], "first by its number", *folder_captions(4)[2:]])


def test_captions_of_images_that_are_not_listed_are_left_out(folder, caplog):
    change(folder, notes=[{"id": 7, "image_id": 99, "caption": "a"}, {"id": 8, "image_id": 98, "caption": ""}])
    assert_logged(
        folder,
        caplog,
        ["train2017: 2 captions are left out because the file does not list the image"],
        folder_captions(4),
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
    source = assert_logged(folder, caplog, expected, [folder_captions(1)[0], folder_captions(3)[2]], captions=2)
    assert source.texts("train", [0]) == [[folder_captions(1)[0], "second"]]


@pytest.mark.parametrize("text", ["", "  ", "\0", "\t\n\x1f\x7f\x85", "\u2003\u2028"])
def test_captions_without_a_word_are_left_out(folder, caplog, text):
    change(folder, notes=[{"id": 7, "image_id": 1, "caption": text}, {"id": 6, "image_id": 1, "caption": text}])
    assert_logged(
        folder, caplog, ["train2017: 2 captions are left out because they have no word: id 6, 7"], folder_captions(4)
    )


def test_lone_surrogates_are_replaced_and_counted(folder, caplog):
    change(
        folder,
        notes=[{"id": -1, "image_id": 1, "caption": "a \ud83d dog"}, {"id": -2, "image_id": 2, "caption": "\udc4d"}],
    )
    expected = ["train2017: 2 captions contain half of a UTF-16 surrogate pair; it is replaced by U+FFFD"]
    assert_logged(folder, caplog, expected, [folder_captions(1)[0], "a \ufffd dog", "\ufffd", folder_captions(4)[3]])


def test_ids_may_be_texts(folder, caplog):
    """Ids that are texts are compared with each other, but not with numbers, and are sorted as texts."""
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
