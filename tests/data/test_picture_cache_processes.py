"""Processes that examine the pictures of one folder at the same time, killed processes, workers and progress bars."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from model.data import file_lock, picture_cache
from model.data.picture_cache import PictureCache
from tests.data.coco_folder import small_source, write_folder
from tests.forked import ended, start


def test_a_killed_process_has_saved_its_results(cache, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr(picture_cache, "SAVE_EVERY", 0.0)
    write_folder(tmp_path)

    def killed(names, progress_bar):
        if len(names) < 24:  # val
            yield from names
            return
        yield from names[:17]
        os._exit(9)

    def check() -> None:
        picture_cache.show_progress = killed
        small_source(tmp_path)

    assert ended(start(check, tmp_path / "output")) == 9
    decoded.clear()
    small_source(tmp_path)
    assert sorted(decoded) == [f"{number:04}.png" for number in range(17, 24)]


def test_processes_at_the_same_time_examine_a_picture_once(cache, decoded, tmp_path, caplog):
    """Two threads, each with its own lock, represent two processes."""
    write_folder(tmp_path, train=60)
    records = []
    with caplog.at_level(logging.INFO, logger="model.data"):
        both = [threading.Thread(target=lambda: records.append(small_source(tmp_path).record)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert records[0] == records[1]
    assert len(decoded) == 68
    assert list(cache.glob("*.lock")) == []


def check_one(folder: Path) -> None:
    """Examines one picture, as a second process."""
    with PictureCache(folder) as cache:
        cache.check(["0001.png"])


def test_a_process_logs_that_it_waits(cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(file_lock, "PAUSE", 0.01)
    images = write_folder(tmp_path) / "train2017"
    with PictureCache(images) as first:
        first.check(["0000.png"])
        with caplog.at_level(logging.INFO, logger="model.data"):
            waiting = threading.Thread(target=check_one, args=(images,))
            waiting.start()
            while not caplog.messages:
                time.sleep(0.01)
    waiting.join()
    assert caplog.messages == [f"another process is reading the pictures of {images}: waiting for its result"]


@pytest.mark.parametrize(
    "error", [OSError("no shared memory"), RuntimeError("a worker was killed"), AssertionError("a daemon")]
)
@pytest.mark.parametrize("after", [0, 3])
def test_if_workers_fail_this_process_decodes_the_rest(cache, decoded, tmp_path, monkeypatch, caplog, error, after):
    def failing(function, pieces, workers):
        for piece in pieces[:after]:
            yield function(piece)
        raise error

    monkeypatch.setattr(picture_cache, "parallel_map", failing)
    monkeypatch.setattr(picture_cache, "MANY", 100)
    monkeypatch.setattr(picture_cache, "usable_cores", lambda: 2)
    with caplog.at_level(logging.WARNING, logger="model.data"):
        assert small_source(write_folder(tmp_path, train=100)).size("train") == 100
    assert sorted(decoded) == sorted([f"{number:04}.png" for number in (*range(100), *range(8))])
    assert caplog.messages == [f"pictures are decoded in one process, because worker processes failed ({error})"]


@pytest.mark.parametrize(
    ("requested", "terminal", "shown"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_a_terminal_shows_a_requested_progress_bar(capsys, monkeypatch, requested, terminal, shown):
    monkeypatch.setenv(
        "FORCE_COLOR" if terminal else "NO_COLOR", "1"
    )  # with FORCE_COLOR, rich behaves as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert list(picture_cache.show_progress(["a", "b"], requested)) == ["a", "b"]
    assert ("reading the pictures" in capsys.readouterr().err) == shown
