"""Texts that later runs use again: the file is found by everything that determines it, and rebuilt if it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.data import remembered as module
from model.data.remembered import remembered
from tests.forked import ended, start

DAMAGED = ("", "{", "[1]", "7", '{"text": "x"}', '{"digest": "0", "text": "x"}', '{"text": 1}')


class Computed:
    """A computation that counts its calls."""

    def __init__(self, text: str = "naïve Ω\n") -> None:
        self.text, self.calls = text, 0

    def __call__(self) -> str:
        self.calls += 1
        return self.text


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder of the results, in an empty cache."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "kind"


def only_file(folder: Path) -> Path:
    """Returns the one file of results."""
    (file,) = folder.iterdir()
    return file


def test_equal_inputs_are_computed_once():
    compute = Computed()
    assert [remembered("kind", ("a", "b"), compute) for _ in range(3)] == ["naïve Ω\n"] * 3
    assert compute.calls == 1


@pytest.mark.parametrize("inputs", [("ab",), ("a", "b", ""), ("b", "a"), ("a", "B"), ()])
def test_other_inputs_are_computed(inputs):
    """Another division of the same characters is another input."""
    remembered("kind", ("a", "b"), Computed())
    assert remembered("kind", inputs, Computed("other")) == "other"


def test_a_lone_surrogate_is_an_input():
    assert remembered("kind", ("\ud800",), Computed("one")) == "one"
    assert remembered("kind", ("\udc00",), Computed("two")) == "two"


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "7", '{"text": "x"}', '{"digest": "0", "text": "x"}', '{"text": 1}']
)
def test_a_damaged_file_is_written_again(folder, content):
    remembered("kind", ("a",), Computed("good"))
    file = only_file(folder)
    file.write_text(content)
    compute = Computed("good")
    assert [remembered("kind", ("a",), compute) for _ in range(2)] == ["good", "good"]
    assert compute.calls == 1
    assert json.loads(file.read_text())["text"] == "good"


def test_a_changed_text_is_not_used(folder):
    remembered("kind", ("a",), Computed("good"))
    file = only_file(folder)
    file.write_text(file.read_text().replace("good", "evil"))
    assert remembered("kind", ("a",), Computed("good")) == "good"


def test_a_file_that_others_can_change_is_not_used(folder):
    remembered("kind", ("a",), Computed("old"))
    only_file(folder).chmod(0o622)
    assert remembered("kind", ("a",), Computed("new")) == "new"


def test_a_cache_that_cannot_be_written_is_no_error(folder):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file in the place of the folder")
    assert remembered("kind", ("a",), Computed("text")) == "text"


def test_processes_that_start_together_leave_one_complete_file(folder, tmp_path):
    text = "x" * 1_000_000

    def job() -> None:
        assert remembered("kind", ("a",), Computed(text)) == text

    assert [ended(process) for process in [start(job, tmp_path / f"output{place}") for place in range(4)]] == [0] * 4
    assert json.loads(only_file(folder).read_text())["text"] == text
