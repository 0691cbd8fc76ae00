"""Signals in a run of two processes: whichever gets one, both end after the same step, and the run continues with the
result of an uninterrupted run.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import product
from pathlib import Path

import pytest

from model.checkpoint.files import checkpoint_path
from model.command import command_line
from model.record.summary import read_summary
from tests.conftest import SMALL
from tests.forked import together
from tests.run.interrupting import QUIET, assert_equal_runs, at
from tests.run.test_run import NOISY

TWO = (
    *SMALL,
    *NOISY,
    *QUIET,
    "data.train_size=48",
    "trainer.strategy=ddp",
    "trainer.devices=2",
    "trainer.checkpoint_every_n_steps=100",
)
WHO = {"the first": (0,), "the second": (1,), "both": (0, 1)}
CASES = list(product(("training", "last validation", "evaluation"), (signal.SIGTERM, signal.SIGINT), WHO))


def train_together(
    folder: Path, code: int, *arguments: str, moment: str = "", number: int = 0, ranks: tuple[int, ...] = ()
) -> None:
    """Runs the command in two processes, of which those of `ranks` get the signal; raises AssertionError unless both
    end with `code`.
    """

    def task() -> None:
        if int(os.environ["LOCAL_RANK"]) in ranks:
            at(moment, lambda: os.kill(os.getpid(), number))
        sys.argv = ["train.py", *TWO, f"hydra.run.dir={folder}", *arguments]
        sys.exit(command_line())

    together(task, folder.parent, code=code)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The folder of a run without a signal."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    train_together(folder, 0)
    return folder


@pytest.mark.parametrize(
    ("moment", "number", "who"),
    [
        pytest.param(*case, marks=[] if case == ("training", signal.SIGTERM, "the second") else pytest.mark.slow)
        for case in CASES
    ],
)
@pytest.mark.slow
def test_both_processes_save_and_continue(reference, tmp_path, moment, number, who):
    folder = tmp_path / "folder"
    train_together(folder, 128 + number, moment=moment, number=number, ranks=WHO[who])
    assert read_summary(folder)["status"] == "interrupted"
    assert checkpoint_path(folder, "last").is_file()
    train_together(folder, 0, "ckpt_path=last")
    assert_equal_runs(reference, folder)
