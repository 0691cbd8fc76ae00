"""Signals: at any moment a run saves, says how to continue, and then ends with the result of an uninterrupted run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.record.summary import UNFINISHED, read_summary
from model.report.pictures import Pictures
from tests.conftest import SMALL
from tests.forked import ended
from tests.run.interrupting import (
    EXTRA,
    MOMENTS,
    QUIET,
    RUN,
    SIGNALS,
    assert_equal_runs,
    at,
    begin,
    continue_run,
    interrupted,
    processes_of_session,
    run_here,
)
from tests.run.sweeps import compared, job_folder

NAMES = {number: number.name for number in SIGNALS}
AFTER_THE_RUN = ("analysis", "report")
# Optimizer steps in last.ckpt after a signal at that moment: no step is lost.
STEPS = {"training": 5, "validation": 6, "last validation": 9, "saving": 6, "evaluation": 9, "analysis": 9, "report": 9}
WORKERS = ("data.num_workers=2",)
CASES = [(moment, number) for moment in MOMENTS for number in SIGNALS]
BY_DEFAULT = [("training", signal.SIGTERM)]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Pictures take seconds and have tests of their own."""
    monkeypatch.setattr("model.report.page.draw_all", lambda *_: Pictures({}, {}))


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Callable[..., Path]:
    """`reference("report=true")` -> the folder of such a run without a signal; each is run once."""
    folders: dict[tuple[str, ...], Path] = {}

    def run_of(*extra: str) -> Path:
        if extra not in folders:
            folders[extra] = tmp_path_factory.mktemp("reference") / "run"
            assert run_here(*RUN, *extra, f"hydra.run.dir={folders[extra]}") == 0
        return folders[extra]

    return run_of


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        pytest.param(*case, marks=[] if case in BY_DEFAULT else pytest.mark.slow, id=f"{case[0]}-{NAMES[case[1]]}")
        for case in CASES
    ],
)
def test_a_run_saves_and_continues_as_without_a_signal(reference, tmp_path, moment, number):
    extra, folder = EXTRA.get(moment, ()), tmp_path / "folder"
    arguments = (*RUN, *extra)
    code, lines = interrupted(moment, number, tmp_path / "output", *arguments, f"hydra.run.dir={folder}")
    assert code == 128 + number, lines
    assert len(lines) == 2, lines
    assert str(folder) in lines[0]
    last = checkpoint_path(folder, "last")
    assert last.is_file() == (moment != "preparation")
    assert moment == "preparation" or torch.load(last, weights_only=True)["global_step"] == STEPS[moment]
    assert ("ckpt_path=last" in lines[1]) == (moment != "preparation")
    assert read_summary(folder)["status"] == ("complete" if moment in AFTER_THE_RUN else "interrupted")
    assert [path for path in folder.rglob(".*") if path.name not in (".hydra", ".lock", UNFINISHED)] == [], (
        "no incomplete file is left"
    )
    assert continue_run(folder, *arguments) == 0
    assert_equal_runs(reference(*extra), folder)
    assert not (folder / UNFINISHED).exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_workers_too_leaves_no_process_behind(reference, tmp_path, number):
    """Ctrl-C in a terminal, or a scheduler that ends a job, sends it to every process of the group."""
    folder = tmp_path / "folder"

    def prepare() -> None:
        os.setsid()
        at("training", lambda: os.killpg(0, number))

    process = begin(prepare, tmp_path / "output", *RUN, *WORKERS, f"hydra.run.dir={folder}")
    assert ended(process) == 128 + number, (tmp_path / "output").read_text()
    assert len((tmp_path / "output").read_text().splitlines()) == 2
    until = time.monotonic() + 10
    while processes_of_session(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_of_session(process) == []
    assert continue_run(folder, *RUN, *WORKERS) == 0
    assert_equal_runs(reference(*WORKERS), folder)


@pytest.mark.slow
def test_a_second_interrupt_ends_a_step_that_hangs(reference, tmp_path):
    """The first one waits for the step; the checkpoint of the epoch before stays."""
    folder, hangs = tmp_path / "folder", tmp_path / "hangs"

    def hang() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        hangs.write_text("")
        for _ in range(300):
            time.sleep(0.1)

    process = begin(lambda: at("training", hang), tmp_path / "output", *RUN, f"hydra.run.dir={folder}")
    until = time.monotonic() + 60
    while not hangs.exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.5)
    os.kill(process, signal.SIGINT)
    began = time.monotonic()
    code = ended(process)
    assert time.monotonic() - began < 5
    assert code in (128 + signal.SIGINT, -signal.SIGINT)
    assert continue_run(folder, *RUN) == 0
    assert_equal_runs(reference(), folder)


@pytest.mark.slow
def test_a_hangup_that_was_ignored_before_the_start_is_ignored(reference, tmp_path):
    """As nohup does."""
    folder = tmp_path / "folder"

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        at("training", lambda: os.kill(os.getpid(), signal.SIGHUP))

    assert ended(begin(prepare, tmp_path / "output", *RUN, f"hydra.run.dir={folder}")) == 0
    assert_equal_runs(reference(), folder)


SWEEP = (
    "-m",
    *SMALL,
    *QUIET,
    "monitor.every_n_steps=1",
    "trainer.checkpoint_every_n_steps=100",
    "model=clip",
    "loss=stock",
    "seed=1,2,3",
)
SWEEP_CASES = [
    *(("training", number) for number in SIGNALS),
    *((moment, signal.SIGTERM) for moment in ("preparation", "evaluation", "report")),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", SWEEP_CASES, ids=lambda case: f"{case[0]}-{NAMES[case[1]]}")
def test_a_sweep_compares_the_finished_jobs_and_continues(tmp_path, case):
    moment, number = case
    command = (*SWEEP, *EXTRA.get(moment, ()))
    folder, reference = tmp_path / "folder", tmp_path / "reference"
    code, lines = interrupted(moment, number, tmp_path / "output", *command, f"hydra.sweep.dir={folder}", job="_seed2_")
    assert code == 128 + number, lines
    assert len(lines) == 2, lines
    assert compared(folder)[0]["seeds"] == ("1 2" if moment in AFTER_THE_RUN else "1")
    assert not list(folder.glob("*_seed3_*")), "the third job has not begun"
    for place in (folder, reference):
        assert run_here(*command, f"hydra.sweep.dir={place}") == 0
    assert compared(folder) == compared(reference)
    for seed in (1, 2, 3):
        assert_equal_runs(*(job_folder(place, f"stock_seed{seed}") for place in (reference, folder)))
