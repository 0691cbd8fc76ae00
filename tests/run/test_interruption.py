"""Signals: at any moment a run ends in order, says how to go on, and then reaches what it would have reached without a
signal.
"""

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
    go_on,
    here,
    interrupted,
    processes_of_session,
)
from tests.run.sweeps import compared, job_folder

NAMES = {number: number.name for number in SIGNALS}
AFTER_THE_RUN = ("analysis", "report")
# Optimizer steps in last.ckpt after a signal at that moment: none that was made is lost.
STEPS = {"training": 5, "validation": 6, "last validation": 9, "saving": 6, "evaluation": 9, "analysis": 9, "report": 9}
WORKERS = ("data.num_workers=2",)
CASES = [(moment, number) for moment in MOMENTS for number in SIGNALS]
BY_DEFAULT = [("training", signal.SIGTERM)]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Pictures take seconds and have tests of their own."""
    monkeypatch.setattr("model.report.page.draw", lambda run: ({}, []))


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[..., Path]:
    """`whole("report=true")` -> the folder of such a run that no signal has cut; made once."""
    made: dict[tuple[str, ...], Path] = {}

    def run_of(*extra: str) -> Path:
        if extra not in made:
            made[extra] = tmp_path_factory.mktemp("whole") / "run"
            assert here(*RUN, *extra, f"hydra.run.dir={made[extra]}") == 0
        return made[extra]

    return run_of


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        pytest.param(*case, marks=[] if case in BY_DEFAULT else pytest.mark.slow, id=f"{case[0]}-{NAMES[case[1]]}")
        for case in CASES
    ],
)
def test_a_run_ends_in_order_and_goes_on_as_if_no_signal_had_come(whole, tmp_path, moment, number):
    extra, cut = EXTRA.get(moment, ()), tmp_path / "cut"
    arguments = (*RUN, *extra)
    code, lines = interrupted(moment, number, tmp_path / "said", *arguments, f"hydra.run.dir={cut}")
    assert code == 128 + number, lines
    assert len(lines) == 2, lines
    assert str(cut) in lines[0]
    last = checkpoint_path(cut, "last")
    assert last.is_file() == (moment != "preparation")
    assert moment == "preparation" or torch.load(last, weights_only=True)["global_step"] == STEPS[moment]
    assert ("ckpt_path=last" in lines[1]) == (moment != "preparation")
    assert read_summary(cut)["status"] == ("complete" if moment in AFTER_THE_RUN else "interrupted")
    assert [path for path in cut.rglob(".*") if path.name not in (".hydra", ".lock", UNFINISHED)] == [], (
        "nothing is left that was begun"
    )
    assert go_on(cut, *arguments) == 0
    assert_equal_runs(whole(*extra), cut)
    assert not (cut / UNFINISHED).exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_workers_too_leaves_no_process_behind(whole, tmp_path, number):
    """Ctrl-C in a terminal, or a scheduler that ends a job, sends it to every process of the group."""
    cut = tmp_path / "cut"

    def prepare() -> None:
        os.setsid()
        at("training", lambda: os.killpg(0, number))

    process = begin(prepare, tmp_path / "said", *RUN, *WORKERS, f"hydra.run.dir={cut}")
    assert ended(process) == 128 + number, (tmp_path / "said").read_text()
    assert len((tmp_path / "said").read_text().splitlines()) == 2
    until = time.monotonic() + 10
    while processes_of_session(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_of_session(process) == []
    assert go_on(cut, *RUN, *WORKERS) == 0
    assert_equal_runs(whole(*WORKERS), cut)


@pytest.mark.slow
def test_a_second_interrupt_ends_a_step_that_hangs(whole, tmp_path):
    """The first one waits for the step; the checkpoint of the epoch before stays."""
    cut, hangs = tmp_path / "cut", tmp_path / "hangs"

    def hang() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        hangs.write_text("")
        for _ in range(300):
            time.sleep(0.1)

    process = begin(lambda: at("training", hang), tmp_path / "said", *RUN, f"hydra.run.dir={cut}")
    until = time.monotonic() + 60
    while not hangs.exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.5)
    os.kill(process, signal.SIGINT)
    began = time.monotonic()
    code = ended(process)
    assert time.monotonic() - began < 5
    assert code in (128 + signal.SIGINT, -signal.SIGINT)
    assert go_on(cut, *RUN) == 0
    assert_equal_runs(whole(), cut)


@pytest.mark.slow
def test_a_hangup_that_was_ignored_before_the_start_is_ignored(whole, tmp_path):
    """As nohup does."""
    cut = tmp_path / "cut"

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        at("training", lambda: os.kill(os.getpid(), signal.SIGHUP))

    assert ended(begin(prepare, tmp_path / "said", *RUN, f"hydra.run.dir={cut}")) == 0
    assert_equal_runs(whole(), cut)


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
CUT_SWEEPS = [
    *(("training", number) for number in SIGNALS),
    *((moment, signal.SIGTERM) for moment in ("preparation", "evaluation", "report")),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CUT_SWEEPS, ids=lambda case: f"{case[0]}-{NAMES[case[1]]}")
def test_a_sweep_compares_what_is_there_and_goes_on(tmp_path, case):
    moment, number = case
    command = (*SWEEP, *EXTRA.get(moment, ()))
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    code, lines = interrupted(moment, number, tmp_path / "said", *command, f"hydra.sweep.dir={cut}", job="_seed2_")
    assert code == 128 + number, lines
    assert len(lines) == 2, lines
    assert compared(cut)[0]["seeds"] == ("1 2" if moment in AFTER_THE_RUN else "1")
    assert not list(cut.glob("*_seed3_*")), "the third job has not begun"
    for folder in (cut, whole):
        assert here(*command, f"hydra.sweep.dir={folder}") == 0
    assert compared(cut) == compared(whole)
    for seed in (1, 2, 3):
        assert_equal_runs(*(job_folder(folder, f"stock_seed{seed}") for folder in (whole, cut)))
