"""Texts in a memory-mapped file: equal to what was written, shared, and small in each process."""

from __future__ import annotations

import os
import pickle
import tracemalloc

import pytest

from model.data import picture_cache, row_store
from model.data.row_store import store_rows, write_texts
from tests.data.table_folder import simple_rows, source_of, write_pictures, write_table

TEXTS = ["", "plain", "ü 日本 🐙", "lone \ud800 half", "\u2028", "x" * 100_000, ""]
ROWS = 800


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setattr(row_store, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "rows"


@pytest.mark.parametrize("texts", [TEXTS, [], [""]])
def test_texts_are_read_as_they_were_written(folder, texts):
    stored = write_texts(texts)
    for copy in (stored, pickle.loads(pickle.dumps(stored))):
        assert [copy[number] for number in range(len(copy))] == texts
        for number in (-1, len(texts)):
            with pytest.raises(IndexError):
                copy[number]


def test_rows(folder):
    rows = [("a", ["b", "c"]), ("d", ["e", "f"])]
    store = store_rows(rows, 2)
    assert [(store.name(row), store.captions(row)) for row in range(len(store))] == rows


def test_equal_texts_share_a_file_and_a_damaged_file_is_written_again(folder):
    write_texts(TEXTS)
    write_texts(iter(TEXTS))
    (file,) = folder.iterdir()
    content = file.read_bytes()
    written = file.stat().st_ino
    write_texts(TEXTS)
    assert file.stat().st_ino == written
    file.write_bytes(content[:-1] + b"y")
    assert write_texts(TEXTS)[5] == TEXTS[5]
    assert file.read_bytes() == content
    file.chmod(0o666)  # other users could change it
    write_texts(TEXTS)
    assert file.stat().st_mode & 0o022 == 0
    write_texts([*TEXTS, "more"])
    assert len(list(folder.iterdir())) == 2


def test_without_a_cache_folder_the_texts_are_in_a_temporary_file(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(row_store, "cache_folder", lambda: tmp_path / "file")
    monkeypatch.setattr(row_store, "temporary_folder", lambda: tmp_path)
    stored = write_texts(TEXTS)
    assert [stored[number] for number in range(len(stored))] == TEXTS
    assert len(list(tmp_path.glob("*.rows"))) == 1


def test_a_source_holds_few_bytes_a_row(tmp_path, monkeypatch):
    """At most 200 beyond texts and paths, both of which are mapped: 2,000 bytes of captions would be seen at once."""
    monkeypatch.setattr(picture_cache, "MANY", 2 * ROWS)  # worker processes would need more time than the pictures
    write_pictures(tmp_path, *range(20), size=4)
    for number in range(20, ROWS):
        os.link(tmp_path / f"{number % 20:04}.png", tmp_path / f"{number:04}.png")
    rows = [row | {"text": f"{row['text']} {'word ' * 400}"} for row in simple_rows(*range(ROWS))]
    file = write_table(tmp_path / "t.jsonl", rows)
    source_of(file, val_size=80, test_size=80)  # fills the cache and imports what is needed
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    source = source_of(file, val_size=80, test_size=80)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert source.size("train") == ROWS - 160
    assert held < 200 * ROWS
    assert len(pickle.dumps(source)) < 200 * ROWS
