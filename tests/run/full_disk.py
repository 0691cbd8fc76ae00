"""Helpers for the tests of full disks: the command, two ways to fill a disk, checks of the message and of the files."""

from __future__ import annotations

import builtins
import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.command import command_line
from model.record.summary import UNFINISHED
from tests.conftest import SMALL

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")
FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def command(capfd, monkeypatch, tmp_path) -> Callable[..., tuple[int, list[str]]]:
    """`command("seed=1", folder=…)` -> exit code, lines on stderr: the smallest run (with `-m` first, the smallest
    sweep) in this process.
    """

    def command(*arguments: str, folder: Path) -> tuple[int, list[str]]:
        sweeps = arguments[:1] == ("-m",)
        place = f"hydra.{'sweep' if sweeps else 'run'}.dir={folder}"
        monkeypatch.setattr(
            sys, "argv", ["train.py", *arguments[: int(sweeps)], *SMALL, *QUIET, place, *arguments[int(sweeps) :]]
        )
        capfd.readouterr()
        code = command_line()
        return code, capfd.readouterr().err.splitlines()

    monkeypatch.chdir(tmp_path)
    return command


@contextmanager
def no_room_for(*parts: str) -> Iterator[None]:
    """Makes the disk full, within the block, for every file with all `parts` in its path: the system's device that is
    always full takes its place.
    """
    real = builtins.open

    def opened(file: object, mode: str = "r", *rest: object, **keywords: object) -> object:
        full = not isinstance(file, int) and all(part in os.fsdecode(file) for part in parts) and set(mode) & set("wax")
        return real("/dev/full" if full else file, mode, *rest, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        yield


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """`disk("size=1m")` -> a file system with these options, the same one with other options when called again."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options: str) -> Path:
        again = "remount," if place.is_mount() else ""
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", again + options, "none", place], capture_output=True, check=False
        ).returncode:
            pytest.skip("file systems cannot be mounted here")
        return place

    yield mounted
    if place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


def assert_two_lines(lines: list[str], *words: str) -> None:
    """Asserts that there are exactly two lines, with these words."""
    text = "\n".join(lines)
    assert len(lines) == 2, text
    assert [word for word in words if word not in text] == [], text


def incomplete(folder: Path) -> list[Path]:
    """Returns the incomplete files and folders."""
    return [path for path in folder.rglob(".*") if path.name not in (".hydra", ".lock", UNFINISHED)]
