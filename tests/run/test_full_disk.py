"""A disk that is full, or a folder that is not writable: two lines with the file and the bytes, no incomplete file, and
the same command continues the run.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
from pathlib import Path

import pytest

from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError, RunFailed
from model.record.disk import NotWritten, write_failure
from model.record.files import append, write_whole
from model.record.summary import read_summary
from model.report import __main__ as report_command
from model.report.pictures import Pictures
from tests.conftest import some
from tests.run.full_disk import FULL, assert_two_lines, command, disk, incomplete, no_room_for
from tests.run.test_run import assert_same_run

__all__ = ["command", "disk"]


@pytest.mark.slow
def test_a_run_that_fills_the_disk_continues_when_there_is_room(command, disk, tmp_path):
    """Room for two checkpoints: the third one, of the second epoch, does not fit beside the first two."""
    assert command(folder=tmp_path / "whole") == (0, [])
    size = checkpoint_path(tmp_path / "whole", "last").stat().st_size
    folder = disk(f"size={2 * size + 200_000}") / "run"
    code, lines = command(folder=folder)
    kept = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    assert code == 1
    assert_two_lines(lines, str(folder / "checkpoints"), FULL, "make room", "ckpt_path=last")
    wanted, free = (
        int(figure.replace(",", ""))
        for figure in re.search(r"([\d,]+) bytes were to be written, ([\d,]+) bytes", lines[0]).groups()
    )
    assert wanted == pytest.approx(size, rel=0.01)
    assert free == pytest.approx(shutil.disk_usage(folder).free, abs=16384), "summary.json has been written since"
    assert sorted(kept) == ["best.ckpt", "last.ckpt"]
    assert incomplete(folder) == []
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["reason"].partition(" (")[0]) == ("failed", lines[0].partition(" (")[0])
    disk("size=100m")
    assert command("ckpt_path=last", folder=folder) == (0, [])
    assert_same_run(tmp_path / "whole", folder)


FILES = [
    (".metrics.csv", ()),
    (".last.ckpt", ()),
    (".best.ckpt", ()),
    ("tensorboard", ("logger=tensorboard",)),
    ("health.jsonl", ("monitor.every_n_steps=1",)),
    (".summary.json", ()),
    (".analysis.json", ("analysis=standard",)),
    (".cka.npz", ("analysis=full",)),
    ("examples/.", ("analysis=standard",)),
    (".index.html", ("report=true",)),
    ("report/.", ("report=true",)),
]


@pytest.mark.parametrize("case", some(FILES, 20))
def test_a_file_that_does_not_fit_is_named(command, tmp_path, case):
    """A file that is written after training leaves the run complete. With room, the same command ends the run."""
    part, extra = case
    with no_room_for(part):
        code, lines = command(*extra, folder=tmp_path / "run")
    assert code == 1
    named = (
        ("a file in",) if part == "tensorboard" else (part.strip("./"), "bytes were to be written")
    )  # the package does not name the file
    assert_two_lines(lines, *named, FULL, "bytes are free", "make room")
    assert incomplete(tmp_path / "run") == []
    after = FILES.index(case) > FILES.index((".summary.json", ()))
    assert read_summary(tmp_path / "run").get("status") == (
        None if part == ".summary.json" else "complete" if after else "failed"
    )
    has_checkpoint = checkpoint_path(tmp_path / "run", "last").is_file()
    assert ("ckpt_path=last" in lines[1]) == has_checkpoint
    assert command(*extra, *(["ckpt_path=last"] if has_checkpoint else []), folder=tmp_path / "run") == (0, [])
    assert incomplete(tmp_path / "run") == []


def test_a_tokeniser_that_does_not_fit_is_removed(command, disk):
    """Its package raises an error of its own."""
    folder = disk("size=24k") / "run"
    code, lines = command(folder=folder)
    assert code == 1
    assert_two_lines(lines, str(folder / "tokenizer"), FULL, "bytes are free", "make room")
    assert not (folder / "tokenizer").exists()
    assert incomplete(folder) == []


@pytest.mark.slow
def test_a_disk_without_any_room_brings_no_further_errors(command, tmp_path):
    """Neither the failure nor the page about it can be written."""
    with no_room_for("metrics.csv"), no_room_for("summary.json"), no_room_for("report/"):
        code, lines = command("report=true", folder=tmp_path / "run")
    assert code == 1
    assert_two_lines(lines, "metrics.csv", FULL)
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("kind", some(["below a file", "in proc", "name too long", "read only", "full"], 2))
@pytest.mark.parametrize("sweeps", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_folder_that_cannot_be_made_is_a_mistake(command, disk, tmp_path, kind, sweeps):
    (tmp_path / "file").write_text("")
    folders = {
        "below a file": tmp_path / "file" / "run",
        "in proc": Path("/proc/run"),
        "name too long": tmp_path / ("x" * 300),
    }
    if kind not in folders:
        folders[kind] = disk("ro" if kind == "read only" else "size=4k") / "run"
    code, lines = command(*(["-m", "seed=1"] if sweeps else []), folder=folders[kind])
    assert code == 2
    reasons = {
        "below a file": errno.ENOTDIR,
        "in proc": errno.ENOENT,
        "name too long": errno.ENAMETOOLONG,
        "read only": errno.EROFS,
    }
    assert_two_lines(lines, str(folders[kind]), os.strerror(reasons.get(kind, errno.ENOSPC)), "bytes are free")


@pytest.mark.slow
def test_a_report_that_does_not_fit_is_named(command, capfd, tmp_path, monkeypatch):
    assert command("trainer.max_epochs=1", folder=tmp_path / "run") == (0, [])
    monkeypatch.setattr("model.report.page.draw_all", lambda *_: Pictures({}, {}))  # pictures take seconds
    with no_room_for(".index.html"):
        assert report_command.main([str(tmp_path / "run")]) == 1
    assert_two_lines(capfd.readouterr().err.splitlines(), str(tmp_path / "run" / "report" / "index.html"), FULL)


def test_an_older_file_stays_complete_where_a_new_one_or_an_addition_does_not_fit(tmp_path):
    """A limit on the size of files ends the write in the middle, as a full disk does."""
    old, grown = tmp_path / "whole", tmp_path / "grown"
    write_whole(old, "earlier")
    write_whole(grown, "x" * 900)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(NotWritten) as one:
            write_whole(old, "y" * 2000)
        with pytest.raises(NotWritten) as other:
            append(grown, "y" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(error.value.errno, error.value.filename, error.value.size) for error in (one, other)] == [
        (errno.EFBIG, str(old), 2000),
        (errno.EFBIG, str(grown), 200),
    ]
    assert (old.read_text(), grown.read_text()) == ("earlier", "x" * 900)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grown", "whole"]


def test_other_errors_are_not_reported_as_those_of_the_disk(tmp_path):
    """A missing file, a file of the data that may not be read, and a mistake in the configuration whose cause is an
    error of the disk.
    """
    mistake = ConfigError("data.root")
    mistake.__cause__ = OSError(errno.ENOSPC, FULL)
    others = [
        FileNotFoundError(errno.ENOENT, "", str(tmp_path / "x")),
        PermissionError(errno.EACCES, "", "/data/1.png"),
        mistake,
        ValueError("x"),
    ]
    assert [write_failure(error, tmp_path) for error in others] == [None] * 4
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        assert isinstance(write_failure(OSError(number, os.strerror(number)), tmp_path), RunFailed)
    for number in (errno.EACCES, errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR):
        assert isinstance(write_failure(OSError(number, os.strerror(number), str(tmp_path / "x")), tmp_path), RunFailed)
