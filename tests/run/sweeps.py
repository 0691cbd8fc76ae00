"""Helpers for the tests of sweeps: the smallest sweep, in this process or another, and its results."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model.command import command_line
from tests.conftest import SMALL

ROOT = Path(__file__).resolve().parents[2]
# Columns that may differ between two sweeps of the same jobs.
MEASURED = ("step_seconds", "peak_memory_mib")
Sweep = Callable[..., int]


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """`sweep("loss=stock,norms", …, folder=…)` -> exit code; the folder is one of this test."""
    return lambda *arguments, folder="sweep": sweep_here(tmp_path, folder, *arguments)


def sweep_here(place: Path, folder: str, *arguments: str, options: Sequence[str] = ()) -> int:
    """Runs the smallest sweep in this process, because a new process would import torch again, and returns its exit
    code.

    The sweep writes to `folder` in `place`. The options stand before the arguments on the command line.
    """
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        command = ["train.py", "-m", *options, *SMALL, f"hydra.sweep.dir={folder}", *quiet, *arguments]
        patch.setattr(sys, "argv", command)
        return command_line()


def sweep_apart(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the smallest sweep in a process of its own."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, f"hydra.sweep.dir={folder}", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        command, cwd=folder.parent, env=variables, capture_output=True, text=True, timeout=200, check=False
    )


def compared(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of comparison.csv without measured times and memory."""
    with open(folder / "comparison.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in csv.DictReader(file)]


def job_folder(folder: Path, start: str) -> Path:
    """Returns the folder of the one job whose name starts with `start`."""
    (found,) = folder.glob(f"{start}*")
    return found


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Returns content and time of change of every file that a run, not Hydra, has written."""
    kept = [
        path
        for path in folder.rglob("*")
        if path.is_file() and ".hydra" not in path.parts and path.suffix != ".log" and path.name != ".lock"
    ]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}
