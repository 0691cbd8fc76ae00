"""Checkpoints: a run keeps two, a changed byte is noticed, and what a run and a sweep do with a damaged checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from model.checkpoint.callbacks import WholeFileIO
from model.checkpoint.files import checkpoint_path, read_checkpoint
from model.checkpoint.healing import damage, newest_undamaged
from model.errors import ConfigError, RunFailed
from model.record import files
from model.record.files import remove_unfinished, rename_damaged
from model.run import run
from tests.conftest import SMALL, compose_run, some
from tests.run.damaged import (
    DAMAGE,
    copy_of,
    differences,
    flip,
    killed_job,
    run_again,
    step,
    summary,
    uninterrupted_job,
)

CLIP = ("model=clip", "loss=stock", "trainer.checkpoint_every_n_steps=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run: last.ckpt is of step 6, previous.ckpt of step 4."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(compose_run(*SMALL, *CLIP), folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of that folder for one test."""
    return shutil.copytree(finished, tmp_path / "run")


def test_the_checkpoint_before_the_last_one_stays(finished):
    assert [step(finished, name) for name in ("last", "previous")] == [6, 4]
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}


@pytest.mark.parametrize("links", [True, False])
def test_at_every_moment_of_saving_last_is_whole(tmp_path, monkeypatch, links):
    """Reads last.ckpt before every call that changes a name; also where previous.ckpt is a second name of its file."""
    path = tmp_path / "last.ckpt"
    WholeFileIO().save_checkpoint({"number": 1}, path)
    os.link(path, tmp_path / "previous.ckpt")
    seen = []

    def watched(call, works=True):
        def watching(*arguments):
            seen.append(torch.load(path, weights_only=True)["number"])
            if not works:
                raise PermissionError(1, "no hard links here")
            return call(*arguments)

        return watching

    monkeypatch.setattr(files.os, "link", watched(os.link, links))
    monkeypatch.setattr(files.os, "replace", watched(os.replace))
    for number in (2, 3):
        WholeFileIO().save_checkpoint({"number": number}, path)
        assert torch.load(tmp_path / "previous.ckpt", weights_only=True)["number"] == number - 1
        assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert seen == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("place", some([0.1, 0.3, 0.5, 0.7, 0.9, 0.95], 3))
def test_a_changed_byte_of_any_tensor_is_noticed(folder, place):
    """torch reads most of them without an error."""
    path = checkpoint_path(folder, "last")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensors = sorted(
            (record for record in archive.infolist() if "/data/" in record.filename),
            key=lambda record: record.header_offset,
        )
        record = tensors[int(place * len(tensors))]
        values = archive.read(record)
    content[content.index(values, record.header_offset) + len(values) // 2] ^= 16
    assert damage(path) is None
    path.write_bytes(content)
    read_checkpoint(path)
    assert damage(path) == f"the checksum of {record.filename} is wrong"


@pytest.mark.parametrize(
    "kind", some(["flipped bit", "half", "zeros", "missing tail", "text", "empty", "folder", "pickle"], 3)
)
@pytest.mark.parametrize(
    "asked",
    [("train=false", "ckpt_path=best"), pytest.param(("train=false", "ckpt_path=last"), marks=pytest.mark.slow)],
)
def test_an_evaluation_names_a_damaged_checkpoint_and_those_that_are_whole(small, folder, asked, kind):
    name = asked[1].removeprefix("ckpt_path=")
    DAMAGE[kind](path := checkpoint_path(folder, name))
    with pytest.raises(ConfigError) as caught:
        run(small(*CLIP, *asked), folder)
    first, second = str(caught.value).splitlines() if kind != "folder" else (str(caught.value), "previous.ckpt")
    assert name in first
    assert "; allowed: " in first
    assert "previous.ckpt" in second
    assert path.exists()
    assert not list(folder.rglob("*damaged*"))


def test_a_damaged_file_that_is_named_by_its_path_is_left_alone(small, folder, tmp_path):
    flip(path := checkpoint_path(folder, "last"))
    before = path.read_bytes()
    with pytest.raises(
        ConfigError, match=r"last\.ckpt is not a checkpoint of this program \(the checksum of .* is wrong\); allowed: "
    ):
        run(small(*CLIP, f"ckpt_path={path}"), tmp_path / "other")
    assert path.read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_a_single_run_with_two_damaged_checkpoints_names_both_and_changes_nothing(small, folder):
    for name in ("last", "previous"):
        flip(checkpoint_path(folder, name))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as caught:
        run(small(*CLIP, "ckpt_path=last"), folder)
    first, second = str(caught.value).splitlines()
    assert str(checkpoint_path(folder, "last")) in first
    assert str(checkpoint_path(folder, "previous")) in first
    assert "allowed: another hydra.run.dir, without ckpt_path" in second
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_checkpoint_that_the_system_refuses_to_read_does_not_count_as_damaged(folder, monkeypatch):
    def refuses(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("model.checkpoint.healing.zipfile.is_zipfile", refuses)
    with pytest.raises(RunFailed, match=r"last\.ckpt cannot be read: Permission denied\n"):
        newest_undamaged(folder)


@pytest.mark.slow
def test_a_sweeps_job_with_two_damaged_checkpoints_starts_from_the_beginning(tmp_path):
    reference, job = uninterrupted_job(tmp_path / "one"), copy_of(killed_job(tmp_path), tmp_path / "two")
    for name in ("last", "previous"):
        flip(checkpoint_path(job, name))
    assert run_again(job) == 0
    assert differences(job, reference) == []
    assert [repair.endswith("the run starts from the beginning") for repair in summary(job)["repairs"]] == [True, True]
    assert {path.name for path in (job / "checkpoints").glob("*.damaged")} == {
        "last.ckpt.damaged",
        "previous.ckpt.damaged",
    }


@pytest.mark.slow
def test_a_previous_checkpoint_of_another_configuration_is_refused(tmp_path, capsys):
    job = copy_of(killed_job(tmp_path), tmp_path / "two")
    flip(checkpoint_path(job, "last"))
    path = checkpoint_path(job, "previous")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["callbacks"]["RunCheckpoints"]["config_hash"] = "0" * 12
    torch.save(checkpoint, path)
    assert run_again(job) == 2
    assert "holds results of another configuration" in capsys.readouterr().err
    assert not list(job.rglob("*damaged*")), "no file is renamed in the folder of another configuration"


def test_damaged_files_are_numbered(tmp_path):
    for _ in range(3):
        (tmp_path / "last.ckpt").touch()
        rename_damaged(tmp_path / "last.ckpt")
    assert {path.name for path in tmp_path.iterdir()} == {
        "last.ckpt.damaged",
        "last.ckpt.damaged2",
        "last.ckpt.damaged3",
    }


def test_only_incomplete_files_of_this_program_are_removed(tmp_path):
    incomplete = [
        ".metrics.csv.1.unfinished",
        "checkpoints/.last.ckpt.12",
        "checkpoints/.best.ckpt.7.unfinished",
        "report/.index.html.30.unfinished",
    ]
    others = [
        ".hidden",
        ".metrics.csv.1",
        "notes.1.unfinished",
        ".a.b.unfinished",
        ".b.3.unfinished.txt",
        "mine/.c.4.unfinished",
    ]
    for name in (*incomplete, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_unfinished(tmp_path, older_than=60.0)
    assert all((tmp_path / name).exists() for name in incomplete), "another process may still write them"
    remove_unfinished(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_a_run_first_removes_incomplete_files(small, folder):
    (folder / ".summary.json.99.unfinished").touch()
    run(small(*CLIP, "ckpt_path=last"), folder)
    assert not list(folder.rglob(".*unfinished"))
    assert "repairs" not in json.loads((folder / "summary.json").read_text())
