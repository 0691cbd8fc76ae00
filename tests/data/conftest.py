"""Fixtures shared by the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import pytest

from model.data import picture_cache, pictures
from model.data.emoji_drawing import draw_emoji


@pytest.fixture(scope="session", autouse=True)
def emoji_drawn_once() -> Iterator[None]:
    """Lets tests that draw the same emoji share the pictures, because drawing 1,900 emoji takes two seconds."""
    pictures = {}

    def draw(font_file, emoji, size):
        key = (font_file, tuple(emoji), size)
        if key not in pictures:
            pictures[key] = draw_emoji(font_file, emoji, size)
        return pictures[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.data.emoji.draw_emoji", draw)
        yield


@pytest.fixture
def pillow_warnings_ignored() -> None:
    """Moves the program's filter for Pillow's warnings in front of pytest's filters. The module sets it when it is
    loaded.
    """
    spec = find_spec("model.data.pictures")
    spec.loader.exec_module(module_from_spec(spec))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Returns the folder of an empty cache for this test."""
    monkeypatch.setattr(picture_cache, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Returns the names of the files that this process decodes after this call."""
    names, examine = [], pictures.examine

    def counted(path):
        names.append(os.path.basename(path))
        return examine(path)

    monkeypatch.setattr(pictures, "examine", counted)
    return names
