"""Problems of annotation files: where each problem is, what is wrong and what is allowed. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from model.data.json_lines import entry_lines
from model.data.text import one_line
from model.errors import ConfigError

# The most problems that are collected for one list of a file.
MOST_PROBLEMS = 100
HOW_TO_LIST = "python -m model.data.check with the same data settings lists them"


class Problem(NamedTuple):
    """A problem of an annotation file."""

    file: Path
    line: int | None
    """The line in which the entry begins. None for a problem of the whole file."""
    text: str
    """What is wrong and what is allowed."""

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.text}"


class DamagedAnnotations(ConfigError):
    """Raised for annotation files that cannot be used. The text has at most two lines: the first problem and the number
    of the others.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        """problems: at least one."""
        self.problems = problems
        others = len(problems) - 1
        at_least = "at least " if len(problems) >= MOST_PROBLEMS else ""
        count = f"{at_least}{others} more such {'entry' if others == 1 else 'entries'}"
        super().__init__(str(problems[0]) + (f"\n{count}; {HOW_TO_LIST}" if others else ""))


def damaged_file(file: Path, text: str, line: int | None = None) -> DamagedAnnotations:
    """Returns the error for a file with a single problem."""
    return DamagedAnnotations([Problem(file, line, text)])


def raise_if_any(file: Path, text: str, name: str, problems: Iterable[tuple[int, str]]) -> None:
    """Raises DamagedAnnotations with the first MOST_PROBLEMS of `problems`, if there are any. For the arguments, see
    `with_lines`.
    """
    located = with_lines(file, text, name, problems)
    if located:
        raise DamagedAnnotations(located)


def with_lines(file: Path, text: str, name: str, problems: Iterable[tuple[int, str]]) -> list[Problem]:
    """Adds file and line to the first MOST_PROBLEMS of `problems`.

    text: the content of the file; name: the list that holds the entries; problems: (number of the entry, what is wrong
    with it).
    """
    numbered = list(islice(problems, MOST_PROBLEMS))
    lines = entry_lines(text, name, {number for number, _ in numbered}) if numbered else {}
    return [Problem(file, lines[number], sentence) for number, sentence in numbered]


def describe(value: Any) -> str:
    """Returns a value of a JSON file for a message: short values as JSON, others by their type."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    try:
        return one_line(json.dumps(value, ensure_ascii=False))
    except ValueError:  # a number of thousands of digits
        return "a very long number"
