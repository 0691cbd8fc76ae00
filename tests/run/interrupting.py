"""Helpers for the tests of signals: the moments of a run, a command that gets a signal at one of them, and the
comparison of two runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

from model.checkpoint.files import checkpoint_path
from model.command import command_line
from model.module import NWayClip
from model.record.summary import read_summary
from tests.conftest import SMALL
from tests.forked import ended, start
from tests.run.test_run import NOISY

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")
# Three epochs of three steps with noise, every step in health.jsonl. No checkpoint between two epochs unless a signal
# asks for one.
RUN = (*SMALL, *NOISY, "trainer.checkpoint_every_n_steps=100", "monitor.every_n_steps=1", *QUIET)
# Keys of summary.json that a clock or the system's memory decides.
MEASURED = ("seconds", "step_seconds", "peak_memory_mib")


def is_last_checkpoint(_: object, file: Any) -> bool:
    """Returns, for the arguments of torch.save, whether it writes last.ckpt, and not for the first time."""
    path = Path(getattr(file, "name", ""))
    return path.name.startswith(".last.ckpt") and (path.parent / "last.ckpt").is_file()


# Moment -> the owner and the name of a function that runs then, and for which of its calls the signal comes.
MOMENTS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "preparation": ("model.build", "make_data", lambda *_: True),
    "training": (NWayClip, "training_step", lambda module, batch, index: module.global_step == 4),
    "validation": (NWayClip, "validation_step", lambda module, batch, index: (module.current_epoch, index) == (1, 1)),
    "last validation": (
        NWayClip,
        "validation_step",
        lambda module, batch, index: (module.current_epoch, index) == (2, 1),
    ),
    "saving": (torch, "save", is_last_checkpoint),
    "evaluation": (NWayClip, "test_step", lambda module, batch, index: index == 1),
    "analysis": ("model.analysis.parts", "split_retrieval", lambda *_: True),
    "report": ("model.report.page", "write_report", lambda *_: True),
}
# Arguments with which a run has that moment.
EXTRA = {"analysis": ("analysis=standard",), "report": ("report=true",)}


def at(moment: str, act: Callable[[], object], job: str = "") -> None:
    """Makes this process call `act` once, in the middle of `moment`; in a sweep, in the job whose folder has `job` in
    its name.
    """
    owner, name, due = MOMENTS[moment]
    owner = import_module(owner) if isinstance(owner, str) else owner
    real, done = getattr(owner, name), []

    def watched(*arguments: Any, **keywords: Any) -> Any:
        if not done and due(*arguments) and job in HydraConfig.get().runtime.output_dir:
            done.append(True)
            act()
        return real(*arguments, **keywords)

    setattr(owner, name, watched)


def begin(prepare: Callable[[], object], output: Path, *arguments: str) -> int:
    """Runs `prepare` and then `python train.py <arguments>` in a copy of this process; returns the number of the copy.

    Its stderr goes to the file `output`, its stdout to a file beside it.
    """

    def task() -> None:
        sys.stderr = open(output, "w")  # noqa: SIM115 - open until the process ends
        os.dup2(sys.stderr.fileno(), 2)
        prepare()
        sys.argv = ["train.py", *arguments]
        try:
            sys.exit(command_line())
        finally:
            sys.stderr.flush()

    return start(task, output.with_suffix(".printed"))


def interrupted(moment: str, number: int, output: Path, *arguments: str, job: str = "") -> tuple[int, list[str]]:
    """Runs a command that gets a signal in the middle of `moment`; returns its exit code and its lines on stderr."""
    process = begin(lambda: at(moment, lambda: os.kill(os.getpid(), number), job), output, *arguments)
    return ended(process), output.read_text().splitlines()


def run_here(*arguments: str) -> int:
    """Runs `python train.py <arguments>` in this process and returns the exit code."""
    before = sys.argv
    sys.argv = ["train.py", *arguments]
    try:
        return command_line()
    finally:
        sys.argv = before


def continue_run(folder: Path, *arguments: str) -> int:
    """Runs the command that the message of the interruption names, with ckpt_path=last if there is such a checkpoint;
    returns the exit code.
    """
    has_checkpoint = checkpoint_path(folder, "last").is_file()
    return run_here(*arguments, f"hydra.run.dir={folder}", *(["ckpt_path=last"] if has_checkpoint else []))


def assert_equal_runs(one: Path, other: Path) -> None:
    """Asserts that rows, history, weights, the state of the optimizer and metrics of two runs are bit-identical."""
    for name in ("metrics.csv", "health.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("last", "best"):
        first, second = (torch.load(checkpoint_path(folder, name), weights_only=True) for folder in (one, other))
        for part in ("state_dict", "optimizer_states", "lr_schedulers"):
            assert differences(first[part], second[part], f"{name}.{part}") == []
    first, second = read_summary(one), read_summary(other)
    assert first.keys() == second.keys()
    assert {key: first[key] for key in first if key not in MEASURED} == {
        key: second[key] for key in first if key not in MEASURED
    }
    assert [(folder / "analysis.json").is_file() for folder in (one, other)] in ([True] * 2, [False] * 2)
    if (one / "analysis.json").is_file():
        assert json.loads((one / "analysis.json").read_text()) == json.loads((other / "analysis.json").read_text())
    assert (one / "report" / "index.html").is_file() == (other / "report" / "index.html").is_file()


def differences(one: Any, other: Any, place: str) -> list[str]:
    """Returns the places where two nested structures of tensors and plain values differ."""
    if isinstance(one, torch.Tensor):
        return [] if isinstance(other, torch.Tensor) and torch.equal(one, other) else [place]
    if isinstance(one, Mapping):
        return (
            [place]
            if one.keys() != other.keys()
            else [found for key in one for found in differences(one[key], other[key], f"{place}.{key}")]
        )
    if isinstance(one, (list, tuple)):
        pairs = list(zip(one, other, strict=False))
        return (
            [place]
            if len(one) != len(other)
            else [found for n, pair in enumerate(pairs) for found in differences(*pair, f"{place}.{n}")]
        )
    return [] if one == other else [place]


def processes_of_session(session: int) -> list[int]:
    """Returns the numbers of the processes of a session, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            found.append(int(path.parent.name))
    return found
