"""Runs and sweeps of loss=own, with a function of a file outside the project."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from model.command import command_line
from model.report.__main__ import main as report
from tests.conftest import SMALL
from tests.run.sweeps import compared, job_folder, sweep, sweep_apart

__all__ = ["sweep"]
CLIP = ("model=clip", "model.captions=2", "trainer.max_epochs=1")
OWN = (*CLIP, "loss=own", "loss.function=user_scores:joint")
SOURCE = """
def joint(views):
    total = views[0]
    for view in views[1:]:
        total = total.unsqueeze(-2) * view
    return FACTOR * total.sum(-1)

def negative(views):
    return -joint(views)

FACTOR = 1.0
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Returns the current folder, which holds user_scores.py. The import is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_scores.py").write_text(SOURCE)
    path = list(sys.path)
    yield tmp_path
    sys.modules.pop("user_scores", None)
    sys.path[:] = path


@pytest.fixture
def train(place, monkeypatch, capfd):
    """Returns a function of a command line that returns the exit code and what the command printed."""

    def command(*arguments: str) -> tuple[int, str]:
        quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.run.dir=run")
        monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, *quiet, *arguments])
        capfd.readouterr()
        code = command_line()
        printed = capfd.readouterr()
        return code, printed.err if code else printed.out

    return command


def edit(place: Path) -> None:
    (place / "user_scores.py").write_text(SOURCE.replace("FACTOR = 1.0", "FACTOR = 2.0"))


def test_a_run_resumes_with_its_function_and_not_with_an_edited_one(train, place):
    assert train(*OWN)[0] == 0
    longer = (*OWN, "trainer.max_epochs=2", "ckpt_path=last")
    edit(place)
    code, text = train(*longer)
    assert code == 2
    assert text.startswith("loss.function=user_scores:joint was edited after ckpt_path=last was written (SHA-256 ")
    assert len(text.splitlines()) == 1
    (place / "user_scores.py").write_text(SOURCE)
    assert train(*longer)[0] == 0
    assert json.loads((place / "run" / "summary.json").read_text())["steps"]["applied"] == 6
    (place / "user_scores.py").unlink()
    del sys.modules["user_scores"]
    assert report([str(place / "run")]) == 0
    assert "own (user_scores:joint)" in (place / "run" / "report" / "index.html").read_text()


def test_messages_have_the_name_of_the_function_and_the_folder_its_digest(train, place):
    (place / "user_scores.py").write_text(SOURCE.replace("FACTOR = 1.0", "FACTOR = 1e-9"))
    code, printed = train(*OWN, "trainer.max_steps=1")
    assert code == 0
    assert "the logits of loss=joint are too small to learn from" in printed
    config = yaml.safe_load((place / "run" / ".hydra" / "config.yaml").read_text())["loss"]
    assert (config["name"], config["function"]) == ("own", "user_scores:joint")
    assert len(config["function_digest"]) == 12


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("loss=own",), "loss.function=null names no function for loss=own"),
        (("loss=own", "loss.function=absent:joint"), "loss.function=absent:joint: there is no module absent"),
        (("loss=own", "loss.function=user_scores:joined"), "did you mean loss.function=user_scores:joint?"),
    ],
)
def test_a_missing_function_is_a_mistake_in_the_configuration(train, place, arguments, text):
    code, error = train(*CLIP, *arguments)
    assert code == 2
    assert text in error
    assert len(error.splitlines()) <= 2
    assert not (place / "run" / "metrics.csv").exists()


def test_a_wrong_result_of_the_function_ends_the_run_in_a_line(train, place):
    (place / "user_scores.py").write_text(SOURCE.replace("FACTOR * total.sum(-1)", "total.sum()"))
    code, error = train(*OWN, "trainer.max_steps=1")
    assert code == 1
    assert error.strip().splitlines() == [json.loads((place / "run" / "summary.json").read_text())["reason"]]
    assert error.startswith("loss function joint: shape () returned for views of ")


@pytest.mark.slow
def test_a_sweep_over_two_functions_compares_them_and_an_edit_is_another_job(sweep, place):
    functions = "loss.function=user_scores:joint,user_scores:negative"
    assert sweep(*CLIP, "loss=own", functions) == 0
    rows = compared(place / "sweep")
    assert sorted(row["loss.function"] for row in rows) == ["user_scores:joint", "user_scores:negative"]
    assert "loss.function_digest" not in rows[0]
    jobs = {path.name for path in (place / "sweep").glob("own_seed0_*")}
    assert len(jobs) == 2
    edit(place)
    assert sweep(*OWN) == 0
    assert len(jobs) + 1 == len(list((place / "sweep").glob("own_seed0_*")))
    rows = compared(place / "sweep")
    assert len({row["loss.function_digest"] for row in rows}) == 2
    assert len(rows) == 3


@pytest.mark.slow
def test_a_finished_job_is_not_repeated(sweep, place):
    assert sweep(*OWN) == 0
    summary = job_folder(place / "sweep", "own_seed0") / "summary.json"
    before = summary.stat().st_mtime_ns
    assert sweep(*OWN) == 0
    assert summary.stat().st_mtime_ns == before


@pytest.mark.slow
def test_worker_processes_find_the_function(place):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = (*CLIP, "loss=own", "loss.function=user_scores:joint,user_scores:negative", "experiment=parallel")
    done = sweep_apart(place / "sweep", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(compared(place / "sweep")) == 2
