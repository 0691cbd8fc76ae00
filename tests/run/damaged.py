"""Helpers for the tests of damaged files: a killed run, the same run without a kill, and ways to damage a file."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from tests.conftest import SMALL
from tests.forked import train_until
from tests.run.sweeps import job_folder, sweep_here

# A job of 3 epochs of 3 steps, with a checkpoint at steps 2, 3, 4, 6, 8 and 9.
JOB = (
    "model=clip",
    "model.captions=1",
    "loss=stock",
    "seed=1",
    "trainer.max_epochs=3",
    "trainer.checkpoint_every_n_steps=2",
    "monitor.every_n_steps=1",
)


def uninterrupted_job(place: Path) -> Path:
    """Runs the sweep without an interruption; returns the folder of its job."""
    (place / "reference" / "job").mkdir(parents=True)
    assert run_again(place / "reference" / "job") == 0
    return job_folder(place / "reference", "stock_seed1")


def killed_job(place: Path) -> Path:
    """Kills the sweep at step 5 of 9; returns its job's folder. last.ckpt is of step 4, previous.ckpt of step 3."""
    arguments = ("-m", *SMALL, f"hydra.sweep.dir={place / 'killed'}", *JOB)
    assert train_until(lambda module: module.global_step == 5, place / "output", *arguments) == -signal.SIGKILL
    return job_folder(place / "killed", "stock_seed1")


def copy_of(job: Path, place: Path) -> Path:
    """Copies the sweep of the job to `sweep` in `place`; returns the folder of the job in the copy."""
    return job_folder(shutil.copytree(job.parent, place / "sweep"), "stock_seed1")


def run_again(job: Path) -> int:
    """Runs the sweep again; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.sweep.callback.compare", lambda folder: None)  # pictures take most of the time
        return sweep_here(job.parents[1], job.parent.name, *JOB)


def summary(job: Path) -> dict:
    """Returns summary.json of the job."""
    return json.loads((job / "summary.json").read_text())


def step(job: Path, name: str) -> int:
    """Returns the number of optimizer steps of a checkpoint."""
    return torch.load(checkpoint_path(job, name), weights_only=True)["global_step"]


def differences(job: Path, other: Path) -> list[str]:
    """Returns the names of everything that is not bit-identical in two runs. It leaves out the train/* metrics, which a
    run that is continued after its last step does not have.
    """
    found = [
        name for name in ("metrics.csv", "health.jsonl") if (job / name).read_bytes() != (other / name).read_bytes()
    ]
    for name in ("last", "best"):
        one, two = (torch.load(checkpoint_path(folder, name), weights_only=True) for folder in (job, other))
        found += [
            f"{name}: {key}"
            for key in one["state_dict"]
            if not torch.equal(one["state_dict"][key], two["state_dict"][key])
        ]
        moments = [
            tensor
            for checkpoint in (one, two)
            for state in checkpoint["optimizer_states"][0]["state"].values()
            for tensor in state.values()
        ]
        half = len(moments) // 2
        found += [
            f"{name}: optimizer" for a, b in zip(moments[:half], moments[half:], strict=True) if not torch.equal(a, b)
        ]
    found += [
        key
        for key, value in summary(other)["metrics"].items()
        if key[:5] != "train" and summary(job)["metrics"].get(key) != value
    ]
    return found


def flip(path: Path) -> None:
    """Changes one bit in the middle of the largest tensor of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        name = archive.read(largest)
    content = bytearray(path.read_bytes())
    content[content.index(name) + len(name) // 2] ^= 1
    path.write_bytes(content)


def replace_by_folder(path: Path) -> None:
    """Replaces a file by a folder of the same name, with a file in it."""
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def lines_changed(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Returns a function that damages the lines of a text file."""
    return lambda path: path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "missing tail": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "text": lambda path: path.write_text("a text\n"),
    "flipped bit": flip,
    "empty": lambda path: path.write_bytes(b""),
    "folder": replace_by_folder,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"state_dict": {}})),
    "missing": lambda path: path.unlink(),
    "binary": lambda path: path.write_bytes(b"\x89\xff\xfe\n\x00\x01" * 50),
    "no header": lines_changed(lambda lines: lines[1:]),
    "half a line": lines_changed(lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2] + b"\n", *lines[3:]]),
    "zero bytes": lines_changed(lambda lines: [*lines[:2], bytes(len(lines[2])), *lines[3:]]),
    "not UTF-8": lines_changed(lambda lines: [*lines[:2], b"\xff\xfe" + lines[2], *lines[3:]]),
    "line missing": lines_changed(lambda lines: [*lines[:2], *lines[3:]]),
    "list": lambda path: path.write_text("[1, 2]"),
    "null": lambda path: path.write_text("null"),
    "no metrics": lambda path: path.write_text('{"status": "complete"}'),
    "empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
}
