"""Verdicts on pictures are kept by path, size and time of change, for later runs and for processes that run at the same
time.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from model.data import pictures, remembered
from model.data.coco import Coco
from model.data.coco_files import parts
from model.data.pictures import Facts, NotReadable, NotThere
from model.data.remembered import RememberedPictures
from tests.data.coco_folder import write_folder
from tests.forked import ended, start


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of this test."""
    monkeypatch.setattr(remembered, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that this process decodes from now on."""
    names = []

    def counted(path):
        names.append(os.path.basename(path))
        return pictures.examine(path)

    monkeypatch.setattr("model.data.verdicts.examine", counted)
    return names


def source(root: Path, **sizes) -> Coco:
    """The source of a small folder."""
    return Coco(parts(str(root), "2017"), {"train": None, "val": 4, "test": 4} | sizes, captions=5, image_size=32)


def verdicts(folder: Path, *names: str) -> list[Facts | NotReadable]:
    """The verdicts on these pictures in a new process."""
    with RememberedPictures(folder) as known:
        return known.verdicts(names)


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_second_start_decodes_nothing(cache, decoded, tmp_path, count, caplog):
    """Worker processes decode the training pictures, and this process decodes those of val."""
    write_folder(tmp_path, train=count)
    with caplog.at_level(logging.INFO, logger="model.data"):
        first = source(tmp_path)
    assert len(decoded) == 8
    assert (
        f"train2017: {count:,} images are used; {count:,} pictures were decoded, the others are known from earlier runs"
        in caplog.messages
    )
    decoded.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="model.data"):
        second = source(tmp_path)
    assert decoded == []
    assert (
        f"train2017: {count:,} images are used; 0 pictures were decoded, the others are known from earlier runs"
        in caplog.messages
    )
    assert second.record == first.record
    assert second.files("train") == first.files("train")


def test_another_size_or_time_of_change_is_another_picture(cache, decoded, tmp_path):
    write_folder(tmp_path)
    source(tmp_path)
    decoded.clear()
    longer, newer, other = (tmp_path / "train2017" / f"{number:04}.png" for number in (3, 7, 11))
    longer.write_bytes(longer.read_bytes() + b"more")
    os.utime(newer, ns=(0, 12345))
    shutil.copy(tmp_path / "train2017" / "0000.png", other)
    source(tmp_path)
    assert sorted(decoded) == ["0003.png", "0007.png", "0011.png"]


def test_verdicts_on_unreadable_pictures_are_kept_too(cache, decoded, tmp_path, caplog):
    write_folder(tmp_path)
    (tmp_path / "train2017" / "0005.png").write_bytes(b"no picture")
    first = source(tmp_path)
    decoded.clear()
    with caplog.at_level(logging.WARNING, logger="model.data"):
        second = source(tmp_path)
    assert decoded == []
    assert second.record == first.record
    assert second.record["left_out"]["train2017"] == {
        "0005.png": "has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
    }
    reason = "0005.png has no known picture format; allowed: JPEG, PNG, WebP, GIF, BMP, TIFF"
    assert f"train2017: 1 image is left out because of its file: {reason}" in caplog.messages


def test_reasons_of_the_file_system_are_not_kept(cache, tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train2017"
    (images / "0001.png").rename(images / "away.png")
    assert isinstance(verdicts(images, "0000.png", "0001.png")[1], NotThere)
    (images / "away.png").rename(images / "0001.png")
    assert isinstance(verdicts(images, "0000.png", "0001.png")[1], Facts)


def test_links_are_followed_to_what_they_lead_to_now(cache, tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train2017"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (images / "link.png").symlink_to(images / "0000.png")
    assert isinstance(verdicts(images, "link.png")[0], Facts)
    (images / "link.png").unlink()
    (images / "link.png").symlink_to(tmp_path / "bad.png")
    assert isinstance(verdicts(images, "link.png")[0], NotReadable)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"rules": "0", "pictures": {}}', '{"pictures": {}}', "[" * 100_000]
)
def test_a_damaged_file_of_verdicts_is_written_again(cache, decoded, tmp_path, content):
    write_folder(tmp_path)
    source(tmp_path)
    for file in cache.glob("*.json"):
        file.write_text(content)
    decoded.clear()
    assert source(tmp_path).size("train") == 24
    assert len(decoded) == 32
    decoded.clear()
    source(tmp_path)
    assert decoded == []


@pytest.mark.parametrize(
    "entry", [None, [], [1, 2], "text", [1, 2, 3], {"size": 1}, [1, 2, "digest", "wide", 4, "PNG"]]
)
def test_a_damaged_entry_is_looked_at_again(cache, decoded, tmp_path, entry):
    write_folder(tmp_path)
    source(tmp_path)
    for file in cache.glob("*.json"):
        kept = json.loads(file.read_text())
        kept["pictures"]["0003.png"] = entry
        file.write_text(json.dumps(kept))
    decoded.clear()
    source(tmp_path)
    assert decoded == ["0003.png", "0003.png"]  # of train2017 and of val2017


def test_a_cache_that_cannot_be_written_is_no_error(decoded, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(remembered, "cache_folder", lambda: tmp_path / "file")
    write_folder(tmp_path)
    for _ in range(2):
        decoded.clear()
        assert source(tmp_path).size("train") == 24
        assert len(decoded) == 32


def test_a_check_that_is_killed_has_written_what_it_knows(cache, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "WRITE_EVERY", 0.0)
    write_folder(tmp_path)

    def killed(names, progress_bar):
        if len(names) < 24:  # val
            yield from names
            return
        yield from names[:17]
        os._exit(9)

    def check() -> None:
        remembered.progress = killed
        source(tmp_path)

    assert ended(start(check, tmp_path / "said")) == 9
    decoded.clear()
    source(tmp_path)
    assert sorted(decoded) == [f"{number:04}.png" for number in range(17, 24)]


def test_processes_at_the_same_time_examine_a_picture_once(cache, decoded, tmp_path, caplog):
    """Two threads with locks of their own stand for two processes."""
    write_folder(tmp_path, train=60)
    found = []
    with caplog.at_level(logging.INFO, logger="model.data"):
        both = [threading.Thread(target=lambda: found.append(source(tmp_path).record)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert found[0] == found[1]
    assert len(decoded) == 68


def test_a_process_says_that_it_waits(cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(remembered, "PAUSE", 0.01)
    images = write_folder(tmp_path) / "train2017"
    with RememberedPictures(images) as first:
        first.verdicts(["0000.png"])
        with caplog.at_level(logging.INFO, logger="model.data"):
            waiting = threading.Thread(target=verdicts, args=(images, "0001.png"))
            waiting.start()
            while not caplog.messages:
                time.sleep(0.01)
    waiting.join()
    assert caplog.messages == [f"another process is reading the pictures of {images}: waiting for its result"]


def test_verdicts_that_nobody_asks_for_are_removed(cache, tmp_path):
    write_folder(tmp_path)
    source(tmp_path)
    (old, _) = cache.glob("*.json")
    os.utime(old, (0, 0))
    write_folder(tmp_path / "more")
    source(tmp_path / "more")
    assert not old.exists()
    assert len(list(cache.glob("*.json"))) == 3


def test_only_as_many_are_decoded_as_are_asked_for(cache, decoded, tmp_path):
    write_folder(tmp_path, train=40)
    for number in (3, 10, 11):
        (tmp_path / "train2017" / f"{number:04}.png").write_bytes(b"no picture")
    assert source(tmp_path, train=10).size("train") == 10
    assert len(decoded) == 8 + 10 + 3  # 10, then 1 in the place of the third, 1 of the tenth, 1 of the eleventh


@pytest.mark.parametrize(
    "error", [OSError("no shared memory"), RuntimeError("a worker was killed"), AssertionError("a daemon")]
)
@pytest.mark.parametrize("after", [0, 3])
def test_where_workers_fail_this_process_decodes_the_rest(cache, decoded, tmp_path, monkeypatch, caplog, error, after):
    def failing(function, pieces, workers):
        for piece in pieces[:after]:
            yield function(piece)
        raise error

    monkeypatch.setattr(remembered, "mapped", failing)
    monkeypatch.setattr(remembered, "MANY", 100)
    monkeypatch.setattr(remembered, "usable_cores", lambda: 2)
    with caplog.at_level(logging.WARNING, logger="model.data"):
        assert source(write_folder(tmp_path, train=100)).size("train") == 100
    assert sorted(decoded) == sorted([f"{number:04}.png" for number in (*range(100), *range(8))])
    assert caplog.messages == [f"pictures are decoded in one process, because worker processes failed ({error})"]


@pytest.mark.parametrize(
    ("wanted", "terminal", "shown"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_a_terminal_shows_a_progress_bar_where_one_is_wanted(capsys, monkeypatch, wanted, terminal, shown):
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")  # rich takes FORCE_COLOR for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert list(remembered.progress(["a", "b"], wanted)) == ["a", "b"]
    assert ("reading the pictures" in capsys.readouterr().err) == shown
