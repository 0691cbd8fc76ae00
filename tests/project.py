"""What pyproject.toml says, for the tests of the package and of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ROOT = Path(__file__).resolve().parents[1]


def project_file() -> dict[str, Any]:
    """The tables of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def extras() -> set[str]:
    """The names of the optional dependencies, as in `pip install -e ".[test]"`."""
    return set(project_file()["project"]["optional-dependencies"])
