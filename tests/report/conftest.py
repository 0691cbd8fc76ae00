"""Fixtures of the tests of a run's page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model.report.page import write_report
from tests.report.run_folder import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of a run that has every file, with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "complete")
    write_report(folder)
    return folder


@pytest.fixture
def bare(tmp_path) -> Callable[..., Path]:
    """`bare(name=content, …)` returns a folder with these files only; `__` in a name stands for a dot."""

    def write(**files: object) -> Path:
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return write


@pytest.fixture
def unpainted(monkeypatch) -> None:
    """Replaces the PNG files by a constant: figures are made but not painted, because painting takes most of
    the time.
    """
    monkeypatch.setattr("model.report.pictures.as_png", lambda figure: b"painted")
