"""Problems of annotation files: where each is, what is wrong and what is allowed. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from model.data.json_lines import lines_of
from model.data.text import shown
from model.errors import ConfigError

# The most problems that are collected for one list of a file.
MOST_PROBLEMS = 100
HOW_TO_LIST = "python -m model.data.check with the same data settings lists them"


class Problem(NamedTuple):
    """A fault of an annotation file."""

    file: Path
    line: int | None
    """The line in which the entry begins; None for a fault of the whole file."""
    text: str
    """The fault and what is allowed."""

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.text}"


class Damaged(Exception):
    """An annotation file cannot be used."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(*problems)
        self.problems = problems

    def as_config_error(self) -> ConfigError:
        """The first problem and the number of the others, in at most two lines."""
        more = len(self.problems) - 1
        at_least = "at least " if more + 1 >= MOST_PROBLEMS else ""
        count = f"{at_least}{more} more such {'entry' if more == 1 else 'entries'}"
        return ConfigError(str(self.problems[0]) + (f"\n{count}; {HOW_TO_LIST}" if more else ""))


def raise_if_any(file: Path, text: str, name: str, problems: Iterator[tuple[int, str]]) -> None:
    """Raises Damaged with the first MOST_PROBLEMS of `problems`, if there are any."""
    found = located(file, text, name, problems)
    if found:
        raise Damaged(found)


def located(file: Path, text: str, name: str, problems: Iterator[tuple[int, str]]) -> list[Problem]:
    """The first MOST_PROBLEMS of `problems`, each with the line of its entry."""
    found = list(islice(problems, MOST_PROBLEMS))
    lines = lines_of(text, name, {number for number, _ in found}) if found else {}
    return [Problem(file, lines[number], words) for number, words in found]


def worded(value: Any) -> str:
    """A value in words: short values as JSON, others by their type."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    try:
        return shown(json.dumps(value, ensure_ascii=False))
    except ValueError:  # a number of thousands of digits
        return "a very long number"
