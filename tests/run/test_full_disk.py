"""A disk that is full, or a folder that cannot be written to: two lines with the file and the bytes, nothing incomplete, and the run goes on."""

from __future__ import annotations

import builtins
import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.checkpoint.files import checkpoint_path
from model.config.cli import command_line
from model.disk import NotWritten, write_failure
from model.errors import ConfigError, RunFailed
from model.report import __main__ as report_command
from model.report.files import append, write_whole
from model.report.summary import read_summary
from tests.conftest import SMALL, some
from tests.run.sweeps import compared, job_folder
from tests.run.test_run import assert_same_run

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")
CLIP = ("model=clip", "model.captions=1", "loss=stock")
FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def command(capfd, monkeypatch, tmp_path) -> Callable[..., tuple[int, list[str]]]:
    """`command("seed=1", folder=…)` -> exit code, lines on stderr: the smallest run (with `-m` first, the smallest sweep) in this process."""

    def command(*arguments: str, folder: Path) -> tuple[int, list[str]]:
        sweeps = arguments[:1] == ("-m",)
        place = f"hydra.{'sweep' if sweeps else 'run'}.dir={folder}"
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments[: int(sweeps)], *SMALL, *QUIET, place, *arguments[int(sweeps) :]])
        capfd.readouterr()
        code = command_line()
        return code, capfd.readouterr().err.splitlines()

    monkeypatch.chdir(tmp_path)
    return command


@contextmanager
def no_room_for(*parts: str) -> Iterator[None]:
    """The disk is full for every file with all `parts` in its path: the system's device that is always full stands in for it."""
    real = builtins.open

    def opened(file: object, mode: str = "r", *rest: object, **keywords: object) -> object:
        full = isinstance(file, (str, Path)) and all(part in str(file) for part in parts) and set(mode) & set("wax")
        return real("/dev/full" if full else file, mode, *rest, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        yield


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """`disk("size=1m")` -> a file system with these options, the same one with other options when called again."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options: str) -> Path:
        again = "remount," if place.is_mount() else ""
        if subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "none", place], capture_output=True, check=False).returncode:
            pytest.skip("file systems cannot be mounted here")
        return place

    yield mounted
    if place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


def assert_told(lines: list[str], *words: str) -> None:
    """Exactly two lines, with these words."""
    text = "\n".join(lines)
    assert len(lines) == 2, text
    assert [word for word in words if word not in text] == [], text


def incomplete(folder: Path) -> list[Path]:
    """Files and folders that were begun."""
    return [path for path in folder.rglob(".*") if path.name not in (".hydra", ".lock")]


def test_a_run_that_fills_the_disk_goes_on_when_there_is_room(command, disk, tmp_path):
    """Room for two checkpoints: the third one, of the second epoch, does not fit beside the first two."""
    assert command(folder=tmp_path / "whole") == (0, [])
    size = checkpoint_path(tmp_path / "whole", "last").stat().st_size
    cut = disk(f"size={2 * size + 200_000}") / "run"
    code, lines = command(folder=cut)
    kept = {path.name: path.read_bytes() for path in (cut / "checkpoints").iterdir()}
    assert code == 1
    assert_told(lines, str(cut / "checkpoints"), FULL, "make room", "ckpt_path=last")
    wanted, free = (int(figure.replace(",", "")) for figure in re.search(r"([\d,]+) bytes were to be written, ([\d,]+) bytes", lines[0]).groups())
    assert wanted == pytest.approx(size, rel=0.01)
    assert free == pytest.approx(shutil.disk_usage(cut).free, abs=16384), "summary.json has been written since"
    assert sorted(kept) == ["best.ckpt", "last.ckpt"]
    assert incomplete(cut) == []
    summary = json.loads((cut / "summary.json").read_text())
    assert (summary["status"], summary["reason"].partition(" (")[0]) == ("failed", lines[0].partition(" (")[0])
    disk("size=100m")
    assert command("ckpt_path=last", folder=cut) == (0, [])
    assert_same_run(tmp_path / "whole", cut)


FILES = [
    (".metrics.csv", ()),
    (".last.ckpt", ()),
    (".best.ckpt", ()),
    ("health.jsonl", ("monitor.every_n_steps=1",)),
    (".summary.json", ()),
    (".analysis.json", ("analysis=standard",)),
    (".cka.npz", ("analysis=full",)),
    (".index.html", ("report=true",)),
    ("examples/.", ("analysis=standard",)),
    ("report/.", ("report=true",)),
]


@pytest.mark.parametrize("case", some(FILES, 4))
def test_whatever_file_does_not_fit_is_named(command, tmp_path, case):
    """What comes after a run's end leaves it complete."""
    part, extra = case
    with no_room_for(part):
        code, lines = command(*extra, folder=tmp_path / "run")
    assert code == 1
    assert_told(lines, part.strip("./"), FULL, "bytes were to be written", "bytes are free", "make room")
    assert incomplete(tmp_path / "run") == []
    after = FILES.index(case) > FILES.index((".summary.json", ()))
    assert read_summary(tmp_path / "run").get("status") == (None if part == ".summary.json" else "complete" if after else "failed")


def test_a_tokeniser_that_does_not_fit_is_removed(command, disk):
    """Its package raises an error of its own."""
    folder = disk("size=24k") / "run"
    code, lines = command(folder=folder)
    assert code == 1
    assert_told(lines, str(folder / "tokenizer"), FULL, "bytes are free", "make room")
    assert not (folder / "tokenizer").exists()
    assert incomplete(folder) == []


def test_a_disk_without_any_room_brings_no_further_errors(command, tmp_path):
    """Neither the failure nor the page about it can be written."""
    with no_room_for("metrics.csv"), no_room_for("summary.json"), no_room_for("report/"):
        code, lines = command("report=true", folder=tmp_path / "run")
    assert code == 1
    assert_told(lines, "metrics.csv", FULL)
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("kind", ["below a file", "in proc", "name too long", "read only", "full"])
@pytest.mark.parametrize("sweeps", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_folder_that_cannot_be_made_is_a_mistake(command, disk, tmp_path, kind, sweeps):
    (tmp_path / "file").write_text("")
    folders = {"below a file": tmp_path / "file" / "run", "in proc": Path("/proc/run"), "name too long": tmp_path / ("x" * 300)}
    if kind not in folders:
        folders[kind] = disk("ro" if kind == "read only" else "size=4k") / "run"
    code, lines = command(*(["-m", "seed=1"] if sweeps else []), folder=folders[kind])
    assert code == 2
    reasons = {"below a file": errno.ENOTDIR, "in proc": errno.ENOENT, "name too long": errno.ENAMETOOLONG, "read only": errno.EROFS}
    assert_told(lines, str(folders[kind]), os.strerror(reasons.get(kind, errno.ENOSPC)), "bytes are free")


def test_a_sweep_goes_on_beside_a_job_that_does_not_fit(command, tmp_path):
    arguments, folder = ("-m", *CLIP, "seed=2,1", "trainer.max_epochs=1"), tmp_path / "sweep"
    with no_room_for("seed2_", "checkpoints"):
        assert command(*arguments, folder=folder) == (1, [])
    (row,) = compared(folder)
    assert (row["seeds"], row["ok"]) == ("1", "1")
    assert [word for word in (str(job_folder(folder, "stock_seed2") / "checkpoints"), FULL, "bytes") if word not in row["failures"]] == []
    assert command(*arguments, folder=folder) == (0, [])
    assert (compared(folder)[0]["seeds"], compared(folder)[0]["failures"]) == ("1 2", "")


@pytest.mark.parametrize("part", some(["comparison.csv", "comparison.png", "multirun.yaml"], 3))
def test_a_comparison_that_does_not_fit_is_told_and_made_later(command, tmp_path, part):
    arguments = ("-m", *CLIP, "seed=1", "trainer.max_epochs=1")
    with no_room_for(f"sweep/.{part}"):
        code, lines = command(*arguments, folder=tmp_path / "sweep")
    assert code == 1
    assert_told(lines, str(tmp_path / "sweep" / part), FULL, "bytes were to be written")
    assert command(*arguments, folder=tmp_path / "sweep") == (0, [])
    assert incomplete(tmp_path / "sweep") == []


@pytest.mark.slow
def test_a_next_job_whose_folder_cannot_be_made_ends_the_sweep(command, tmp_path):
    """What is there is compared, and the same command goes on."""
    arguments = ("-m", *CLIP, "seed=1,2", "trainer.max_epochs=1")
    with no_room_for("seed2_", ".hydra"):
        code, lines = command(*arguments, folder=tmp_path / "sweep")
    assert code == 1
    assert_told(lines, str(tmp_path / "sweep"), FULL, "bytes are free")
    assert compared(tmp_path / "sweep")[0]["seeds"] == "1"
    assert command(*arguments, folder=tmp_path / "sweep") == (0, [])
    assert compared(tmp_path / "sweep")[0]["seeds"] == "1 2"


def test_a_report_that_does_not_fit_is_told(command, capfd, tmp_path, monkeypatch):
    assert command("trainer.max_epochs=1", folder=tmp_path / "run") == (0, [])
    monkeypatch.setattr("model.report.page.draw", lambda run: ({}, []))  # pictures take seconds
    with no_room_for(".index.html"):
        assert report_command.main([str(tmp_path / "run")]) == 1
    assert_told(capfd.readouterr().err.splitlines(), str(tmp_path / "run" / "report" / "index.html"), FULL)


def test_an_older_file_stays_whole_where_a_new_one_or_an_addition_does_not_fit(tmp_path):
    """A limit on the size of files cuts the writing in the middle, as a full disk does."""
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    write_whole(whole, "earlier")
    write_whole(grown, "x" * 900)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(NotWritten) as one:
            write_whole(whole, "y" * 2000)
        with pytest.raises(NotWritten) as other:
            append(grown, "y" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(error.value.errno, error.value.filename, error.value.size) for error in (one, other)] == [
        (errno.EFBIG, str(whole), 2000),
        (errno.EFBIG, str(grown), 200),
    ]
    assert (whole.read_text(), grown.read_text()) == ("earlier", "x" * 900)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grown", "whole"]


def test_errors_of_other_kinds_are_not_taken_for_the_disk(tmp_path):
    """A file that is missing, one of the data that may not be read, a mistake in the configuration that an error of the disk is behind."""
    mistake = ConfigError("data.root")
    mistake.__cause__ = OSError(errno.ENOSPC, FULL)
    others = [FileNotFoundError(errno.ENOENT, "", str(tmp_path / "x")), PermissionError(errno.EACCES, "", "/data/1.png"), mistake, ValueError("x")]
    assert [write_failure(error, tmp_path) for error in others] == [None] * 4
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        assert isinstance(write_failure(OSError(number, os.strerror(number)), tmp_path), RunFailed)
    for number in (errno.EACCES, errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR):
        assert isinstance(write_failure(OSError(number, os.strerror(number), str(tmp_path / "x")), tmp_path), RunFailed)
