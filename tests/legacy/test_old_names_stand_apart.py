"""The old names can be removed with one folder and one line: nothing else needs them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEGACY = ROOT / "model" / "legacy"
OLD = {path.stem for path in LEGACY.glob("[!_]*.py")}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_no_other_module_imports_them():
    others = [path for path in (*ROOT.glob("model/**/*.py"), ROOT / "train.py") if LEGACY not in path.parents]
    assert len(others) > 50
    for path in others:
        names = {part for module in imported(path) for part in module.split(".")}
        assert not names & (OLD | {"legacy"}), path


@pytest.mark.slow
def test_the_rest_works_without_the_folder_and_the_line(tmp_path):
    shutil.copytree(ROOT / "model", tmp_path / "model", ignore=shutil.ignore_patterns("legacy", "__pycache__"))
    init = tmp_path / "model" / "__init__.py"
    lines = init.read_text(encoding="utf-8").splitlines(keepends=True)
    removed = [line for line in lines if "legacy" in line and not line.startswith("#")]
    assert len(removed) == 1
    init.write_text("".join(line for line in lines if line not in removed), encoding="utf-8")
    code = "import model.health, model.losses, pathlib; print(pathlib.Path(model.health.__file__).parents[2])"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert Path(printed.strip()) == tmp_path
