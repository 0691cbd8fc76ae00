"""Reads the JSON of an annotation file. Every function raises DamagedAnnotations if the file cannot be used. Standard
library only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.data.annotation_problems import DamagedAnnotations, damaged_file, describe

ALLOWED = "allowed: JSON in COCO's format"


def read_text(file: Path) -> str:
    """Returns the text of a file in UTF-8, UTF-16 or UTF-32."""
    try:
        content = file.read_bytes()
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); allowed: an annotation file in COCO's format"
        raise damaged_file(file, reason) from error
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        start = error.start + len(content) - len(error.object)  # error.start does not count a byte order mark
        line = content.count(b"\n", 0, start) + 1
        reason = f"byte {start} (0x{content[start]:02x}) is not valid {error.encoding.upper()}; allowed: JSON in UTF-8"
        raise damaged_file(file, reason, line) from error


def parse_json(file: Path, text: str) -> Any:
    """Returns the value of the JSON in `text`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise damaged_file(file, f"{syntax_problem(text, error)}; {ALLOWED}", error.lineno) from error
    except RecursionError as error:
        raise damaged_file(file, f"lists or objects are nested too deeply; {ALLOWED}") from error
    except ValueError as error:
        raise too_long_number(file, text) from error


def syntax_problem(text: str, error: json.JSONDecodeError) -> str:
    """Returns what is wrong with text that is not JSON."""
    if not text.strip():
        return "the file is empty"
    if error.pos >= len(text.rstrip()):
        return "the file ends too early"
    return f"{error.msg} (column {error.colno})"


def too_long_number(file: Path, text: str) -> DamagedAnnotations:
    """Returns the error for a number with more digits than Python reads."""
    most = sys.get_int_max_str_digits()
    number = re.search(rf"\d{{{most + 1},}}", text)
    line = text.count("\n", 0, number.start()) + 1 if number else None
    return damaged_file(file, f"a number has more than {most:,} digits; {ALLOWED}", line)


def require_lists(file: Path, content: Any, names: Sequence[str]) -> dict[str, Any]:
    """Returns `content` if it is an object that has these lists."""
    expected = "{" + ", ".join(f'"{name}": [...]' for name in names) + "}"
    if not isinstance(content, dict):
        raise damaged_file(file, f"holds {describe(content)}; allowed: {expected}")
    for name in names:
        if name not in content:
            raise damaged_file(file, f'has no "{name}"; allowed: {expected}')
        if not isinstance(content[name], list):
            raise damaged_file(file, f'has "{name}": {describe(content[name])}; allowed: {expected}')
    return content
