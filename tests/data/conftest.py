"""Fixtures shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec

import pytest

from model.data.emoji_drawing import draw_emoji


@pytest.fixture(scope="session", autouse=True)
def emoji_drawn_once() -> Iterator[None]:
    """Tests that draw the same emoji share the drawings: drawing 1,900 emoji takes two seconds."""
    drawn = {}

    def draw(font_file, emoji, size):
        key = (font_file, tuple(emoji), size)
        if key not in drawn:
            drawn[key] = draw_emoji(font_file, emoji, size)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.data.emoji.draw_emoji", draw)
        yield


@pytest.fixture
def pillow_warnings_ignored() -> None:
    """Puts the program's filter for Pillow's warnings, which the module sets where it is loaded, in front of
    pytest's.
    """
    spec = find_spec("model.data.pictures")
    spec.loader.exec_module(module_from_spec(spec))
