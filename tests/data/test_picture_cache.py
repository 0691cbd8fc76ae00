"""Results of examining pictures are saved by path, size and time of change, for later runs."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from model.data import picture_cache
from model.data.picture_cache import PictureCache
from model.data.pictures import NotAccessible, NotReadable, PictureFacts
from tests.data.coco_folder import small_source, write_folder


def results(folder: Path, *names: str) -> list[PictureFacts | NotReadable]:
    """Returns the results for these pictures from a new cache object."""
    with PictureCache(folder) as cache:
        return cache.check(names)


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_second_start_decodes_nothing(cache, decoded, tmp_path, count, caplog):
    """Worker processes decode the training pictures, and this process decodes those of val."""
    write_folder(tmp_path, train=count)
    with caplog.at_level(logging.INFO, logger="model.data"):
        first = small_source(tmp_path)
    assert len(decoded) == 8
    assert (
        f"train2017: {count:,} images are used; {count:,} pictures were decoded, the others are known from earlier runs"
        in caplog.messages
    )
    decoded.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="model.data"):
        second = small_source(tmp_path)
    assert decoded == []
    assert (
        f"train2017: {count:,} images are used; 0 pictures were decoded, the others are known from earlier runs"
        in caplog.messages
    )
    assert second.record == first.record
    assert second.files("train") == first.files("train")


def test_another_size_or_time_of_change_is_another_picture(cache, decoded, tmp_path):
    write_folder(tmp_path)
    small_source(tmp_path)
    decoded.clear()
    longer, newer, other = (tmp_path / "train2017" / f"{number:04}.png" for number in (3, 7, 11))
    longer.write_bytes(longer.read_bytes() + b"more")
    os.utime(newer, ns=(0, 12345))
    shutil.copy(tmp_path / "train2017" / "0000.png", other)
    small_source(tmp_path)
    assert sorted(decoded) == ["0003.png", "0007.png", "0011.png"]


def test_results_for_unreadable_pictures_are_saved_too(cache, decoded, tmp_path, caplog):
    write_folder(tmp_path)
    (tmp_path / "train2017" / "0005.png").write_bytes(b"no picture")
    first = small_source(tmp_path)
    decoded.clear()
    with caplog.at_level(logging.WARNING, logger="model.data"):
        second = small_source(tmp_path)
    assert decoded == []
    assert second.record == first.record
    assert second.record["left_out"]["train2017"] == {
        "0005.png": "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
    }
    reason = "0005.png has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
    assert f"train2017: 1 image is left out because of its file: {reason}" in caplog.messages


def test_reasons_of_the_file_system_are_not_saved(cache, tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train2017"
    (images / "0001.png").rename(images / "away.png")
    assert isinstance(results(images, "0000.png", "0001.png")[1], NotAccessible)
    (images / "away.png").rename(images / "0001.png")
    assert isinstance(results(images, "0000.png", "0001.png")[1], PictureFacts)


def test_a_changed_link_is_examined_again(cache, tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train2017"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (images / "link.png").symlink_to(images / "0000.png")
    assert isinstance(results(images, "link.png")[0], PictureFacts)
    (images / "link.png").unlink()
    (images / "link.png").symlink_to(tmp_path / "bad.png")
    assert isinstance(results(images, "link.png")[0], NotReadable)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"rules": "0", "pictures": {}}', '{"pictures": {}}', "[" * 100_000]
)
def test_a_damaged_file_of_results_is_written_again(cache, decoded, tmp_path, content):
    write_folder(tmp_path)
    small_source(tmp_path)
    for file in cache.glob("*.json"):
        file.write_text(content)
    decoded.clear()
    assert small_source(tmp_path).size("train") == 24
    assert len(decoded) == 32
    decoded.clear()
    small_source(tmp_path)
    assert decoded == []


@pytest.mark.parametrize(
    "entry", [None, [], [1, 2], "text", [1, 2, 3], {"size": 1}, [1, 2, "digest", "wide", 4, "PNG"]]
)
def test_a_picture_with_a_damaged_entry_is_examined_again(cache, decoded, tmp_path, entry):
    write_folder(tmp_path)
    small_source(tmp_path)
    for file in cache.glob("*.json"):
        content = json.loads(file.read_text())
        content["pictures"]["0003.png"] = entry
        file.write_text(json.dumps(content))
    decoded.clear()
    small_source(tmp_path)
    assert decoded == ["0003.png", "0003.png"]  # of train2017 and of val2017


def test_a_cache_that_cannot_be_written_is_no_error(decoded, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(picture_cache, "cache_folder", lambda: tmp_path / "file")
    write_folder(tmp_path)
    for _ in range(2):
        decoded.clear()
        assert small_source(tmp_path).size("train") == 24
        assert len(decoded) == 32


def test_results_and_locks_that_no_run_uses_are_removed(cache, tmp_path):
    write_folder(tmp_path)
    small_source(tmp_path)
    (old, _) = cache.glob("*.json")
    lock = cache / "killed.lock"
    lock.touch()
    for file in (old, lock):
        os.utime(file, (0, 0))
    write_folder(tmp_path / "more")
    small_source(tmp_path / "more")
    assert not old.exists()
    assert not lock.exists()
    assert len(list(cache.glob("*.json"))) == 3


def test_no_more_pictures_are_decoded_than_the_run_uses(cache, decoded, tmp_path):
    write_folder(tmp_path, train=40)
    for number in (3, 10, 11):
        (tmp_path / "train2017" / f"{number:04}.png").write_bytes(b"no picture")
    assert small_source(tmp_path, train=10).size("train") == 10
    assert len(decoded) == 8 + 10 + 3  # 10 for training, and 3 that replace numbers 3, 10 and 11
