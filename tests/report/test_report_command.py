"""python -m model.report: the page of a run, the comparison of a sweep, and two lines for any other folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from model.errors import ConfigError
from model.report.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def comparison(monkeypatch):
    """Replaces the comparison by a function that accepts a folder with the subfolder `0`."""

    def write_comparison(folder: Path) -> list[Path]:
        if not (folder / "0").exists():
            raise ConfigError(f"{folder} holds no jobs")
        return [folder / "comparison.md"]

    module = ModuleType("model.report.sweep_report")
    module.write_comparison = write_comparison
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.slow
def test_a_run_gets_its_page_in_a_process_of_its_own(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"status": "failed", "reason": "it broke"}))
    command = [sys.executable, "-m", "model.report", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (
        0,
        [str(tmp_path / "report" / "index.html")],
        "",
    )
    assert "it broke" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.usefixtures("comparison")
def test_a_sweep_gets_its_comparison(tmp_path, capsys):
    (tmp_path / "0").mkdir()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'comparison.md'}\n"


@pytest.mark.usefixtures("comparison")
@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_another_folder_is_refused_in_two_lines(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / folder)]) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) <= 2
    for word in (folder, "neither a run's folder nor a sweep's", "allowed", "summary.json"):
        assert word in message
    assert not (tmp_path / folder / "report").exists()


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["a", "b"], 2), (["--help"], 0)])
def test_usage(capsys, arguments, code):
    assert main(arguments) == code
    assert "usage" in capsys.readouterr().err
