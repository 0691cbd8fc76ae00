"""docs/extending.md works as it stands: its sections on data, views, metrics and loggers are followed in a copy of the
project, and one command then trains with all of them.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.pages import blocks
from tests.project import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = ("A data source", "A view recipe", "A metric", "A logger")
COPIED = ("model", "conf", "docs", "train.py", "README.md", "pyproject.toml")
TRAINED = (
    *("data=digits", "model=two_captions", "logger=jsonl", "data.captions=2", "model.captions=2", "data.train_size=24"),
    *("hydra.run.dir=run", "evaluate=[test]", "trainer.max_epochs=null", "trainer.max_steps=4"),
)


def section(title: str) -> str:
    """The text below a heading of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def files_of(language: str) -> list[tuple[str, str]]:
    """First line and remaining text of each block of the sections in this language."""
    return [tuple(block.split("\n", 1)) for title in SECTIONS for block in blocks(section(title), language)]


def write_files(project: Path) -> list[str]:
    """Writes and extends the files that blocks of code name, unless this clone has the code already. Returns their
    names.
    """
    names = []
    for first, code in [*files_of("python"), *files_of("yaml")]:
        names.append(first.removeprefix("# "))
        path = project / names[-1]
        before = path.read_text(encoding="utf-8") + "\n\n" if path.exists() else ""
        if code not in before:
            path.write_text(before + code, encoding="utf-8")
    return names


def apply_changes(project: Path) -> list[str]:
    """Makes the changes of the blocks with + and -, unless this clone has them already; the lines that they replace or
    show occur exactly once. Returns the names of the files.
    """
    names = []
    for first, change in files_of("diff"):
        names.append(first.removeprefix("--- "))
        path = project / names[-1]
        text = path.read_text(encoding="utf-8")
        old, new = (
            "".join(f"{line[1:]}\n" for line in change.splitlines() if line[:1] != other) for other in ("+", "-")
        )
        if f"\n{new}" in text:
            continue
        assert text.count(f"\n{old}") == 1, change
        path.write_text(text.replace(f"\n{old}", f"\n{new}"), encoding="utf-8")
    return names


def call(project: Path, *arguments: str) -> None:
    """Runs `python <arguments>` in the copy. Fails with its messages if it fails."""
    result = subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the project."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def test_the_examples_have_the_style_of_the_project_and_are_documented(project):
    written = {*write_files(project), *apply_changes(project)}
    code = sorted(name for name in written if name.endswith(".py"))
    assert len(code) == 6
    call(project, "-m", "ruff", "check", *code)
    call(project, "-m", "ruff", "format", "--check", *code)
    call(project, "-m", "model.config.document")
    page = (project / "docs" / "configuration.md").read_text(encoding="utf-8")
    for choice in ("digits", "two_captions", "jsonl"):
        assert f"\n| `{choice}` |" in page


@pytest.mark.slow
def test_a_run_uses_all_examples(project):
    write_files(project)
    apply_changes(project)
    call(project, "train.py", *SMALL, *TRAINED)
    with (project / "run" / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    ranks = [float(row["val/mean_rank"]) for row in rows if row["val/mean_rank"]]
    assert len(losses) == 4
    assert ranks
    assert all(1 <= rank <= 20 for rank in ranks)
    lines = [json.loads(line) for line in (project / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}
    assert logged == {step: pytest.approx(loss, rel=1e-5) for step, loss in enumerate(losses, 1)}
    summary = json.loads((project / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "complete"
    assert 1 <= summary["metrics"]["test/mean_rank"] <= 20
