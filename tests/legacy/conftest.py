"""Fixtures of the tests of old commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import pytest

from model.config.schema import RunConfig
from model.legacy.__main__ import main
from model.legacy._old_command import COCO


@pytest.fixture
def printed(capsys) -> Callable[[str], tuple[list[str], list[str]]]:
    """`printed("--logitsversion 7")` returns the words after `python train.py`, and the notes."""

    def call(words: str) -> tuple[list[str], list[str]]:
        assert main(shlex.split(words)) == 0
        line, *notes = capsys.readouterr().out.splitlines()
        program, script, *overrides = shlex.split(line)
        assert (program, script) == ("python", "train.py")
        assert all(note.startswith("# ") for note in notes)
        return overrides, [note.removeprefix("# ") for note in notes]

    return call


@pytest.fixture
def accepted(composed, tmp_path) -> Callable[[Sequence[str]], RunConfig]:
    """Returns the configuration of printed overrides, with this test's folder as the folder of the data."""
    return lambda overrides: composed(*(override.replace(COCO, str(tmp_path)) for override in overrides))
