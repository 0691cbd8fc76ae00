"""Files and functions are short enough to be read in one sitting. The limits apply to model/ and tests/ alike."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("model", "tests") for path in (ROOT / folder).rglob("*.py"))
FILE_LINES = 250
FUNCTION_LINES = 40
# Files and folders that a reader sees first when looking for a loss.
LOSSES_ENTRIES = 14


def name_of(path: Path) -> str:
    """The path of a file inside the project."""
    return path.relative_to(ROOT).as_posix()


def long_functions(source: str) -> list[str]:
    """Each function of `source` that has more than FUNCTION_LINES lines, with its first line and number of lines.
    Decorators are not counted; the docstring is.
    """
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    sizes = [(node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return [f"{name} (line {first}): {lines} lines" for name, first, lines in sizes if lines > FUNCTION_LINES]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_and_its_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= FILE_LINES
    assert long_functions(source) == []


def test_the_losses_are_found_at_a_glance():
    entries = sorted(path.name for path in (ROOT / "model" / "losses").iterdir() if path.name != "__pycache__")
    assert len(entries) <= LOSSES_ENTRIES, entries


@pytest.mark.parametrize("lines", [FUNCTION_LINES, FUNCTION_LINES + 1])
def test_a_function_is_measured_without_its_decorators(lines):
    source = "\n".join(["@decorate", "def measure():", *["    pass"] * (lines - 1)])
    assert (long_functions(source) == []) == (lines <= FUNCTION_LINES)
