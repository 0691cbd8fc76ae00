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


def long_functions(source: str) -> list[str]:
    """Each function of `source` that has more than FUNCTION_LINES lines, with its first line and number of lines.
    Decorators are not counted; the docstring is.
    """
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    sizes = [(node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return [f"{name} (line {first}): {lines} lines" for name, first, lines in sizes if lines > FUNCTION_LINES]


def test_files_and_functions_are_short():
    sources = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
    lengths = {name: len(source.splitlines()) for name, source in sources.items()}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}
    functions = {name: long_functions(source) for name, source in sources.items()}
    assert {name: found for name, found in functions.items() if found} == {}


def test_the_losses_are_found_at_a_glance():
    entries = sorted(path.name for path in (ROOT / "model" / "losses").iterdir() if path.name != "__pycache__")
    assert len(entries) <= LOSSES_ENTRIES, entries


@pytest.mark.parametrize("lines", [FUNCTION_LINES, FUNCTION_LINES + 1])
def test_a_function_is_measured_without_its_decorators(lines):
    source = "\n".join(["@decorate", "def measure():", *["    pass"] * (lines - 1)])
    assert (long_functions(source) == []) == (lines <= FUNCTION_LINES)
