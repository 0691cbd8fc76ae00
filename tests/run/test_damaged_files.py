"""One damaged file in the folder of a job of a sweep: the same command repairs the file or names it, and ends with the
result of an undamaged job.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import some
from tests.run.damaged import DAMAGE, copy_of, differences, killed_job, run_again, step, summary, uninterrupted_job

# Damage to a killed job from which nothing is lost: the job repeats the steps after its checkpoint.
REPAIRED = [
    *(
        ("checkpoints/last.ckpt", damage)
        for damage in ("flipped bit", "half", "zeros", "missing tail", "text", "empty", "folder", "pickle", "missing")
    ),
    *(("tokenizer/tokenizer.json", damage) for damage in ("half", "empty", "binary")),
    ("tokenizer", "empty folder"),
]
BEST = [("checkpoints/best.ckpt", damage) for damage in ("flipped bit", "missing", "half", "folder", "empty")]
# Damage to a killed job that loses rows, because only these files have them.
ROWS = [
    *(
        ("metrics.csv", damage)
        for damage in (
            "binary",
            "no header",
            "half a line",
            "zero bytes",
            "not UTF-8",
            "missing",
            "half",
            "line missing",
            "folder",
        )
    ),
    *(
        ("health.jsonl", damage)
        for damage in ("half a line", "binary", "zero bytes", "not UTF-8", "missing", "line missing", "empty")
    ),
]
# Files that are written at the end of a run, in place of those of an earlier attempt.
REPLACED = [
    *(("summary.json", damage) for damage in ("list", "null", "binary", "no metrics", "half")),
    *(
        (name, "binary")
        for name in (
            "analysis.json",
            "evaluation.json",
            "halt.json",
            "cka.npz",
            "examples/examples.json",
            "repairs.txt",
        )
    ),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The folder of a job that was not interrupted."""
    return uninterrupted_job(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The folder of a job that was killed."""
    return killed_job(tmp_path_factory.mktemp("killed"))


@pytest.mark.parametrize("case", some(REPAIRED, 13))
def test_a_killed_job_with_a_damaged_file_ends_like_an_uninterrupted_one(reference, killed, tmp_path, case):
    (name, damage), job = case, copy_of(killed, tmp_path)
    DAMAGE[damage](job / name)
    assert run_again(job) == 0
    assert differences(job, reference) == []
    (repair,) = summary(job)["repairs"]
    assert repair.startswith(("checkpoints/last.ckpt is ", "tokenizer is damaged"))
    assert summary(job)["evaluated"] == "best"


@pytest.mark.parametrize("case", some(BEST, 5))
@pytest.mark.slow
def test_a_lost_best_checkpoint_is_written_again_by_the_next_validation(reference, killed, tmp_path, case):
    (name, damage), job = case, copy_of(killed, tmp_path)
    DAMAGE[damage](job / name)
    assert run_again(job) == 0
    assert [found for found in differences(job, reference) if not found.startswith(("best", "test/"))] == []
    assert step(job, "best") in (6, 9), "of a validation after the kill at step 5"
    (repair,) = summary(job)["repairs"]
    assert repair.startswith("checkpoints/best.ckpt is ")
    assert summary(job)["evaluated"] == "best"


@pytest.mark.parametrize("case", some(ROWS, 16))
@pytest.mark.slow
def test_lost_rows_are_named_and_the_others_written(reference, killed, tmp_path, case):
    (name, damage), job = case, copy_of(killed, tmp_path)
    DAMAGE[damage](job / name)
    assert run_again(job) == 0
    assert set(differences(job, reference)) == {name}
    lines, all_lines = ((folder / name).read_bytes().splitlines() for folder in (job, reference))
    assert set(lines) < set(all_lines), "no row twice, none that the other run does not have"
    assert lines == [line for line in all_lines if line in lines]
    assert all_lines[-5:] == lines[-5:]
    assert any(
        f"{name} has" in repair and "rows that were written before the checkpoint" in repair
        for repair in summary(job)["repairs"]
    )


@pytest.mark.parametrize("case", some(REPLACED, 12))
@pytest.mark.parametrize("state", ["killed", pytest.param("ended", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_other_files_are_written_again_or_left_out(reference, killed, tmp_path, case, state):
    (name, damage), job = case, copy_of(killed if state == "killed" else reference, tmp_path)
    (job / name).parent.mkdir(exist_ok=True)
    (job / name).touch()
    DAMAGE[damage](job / name)
    assert run_again(job) == 0
    assert differences(job, reference) == []
    assert run_again(job) == 0


@pytest.mark.parametrize("case", some([*BEST, *REPAIRED, *ROWS], 34))
def test_an_ended_job_without_its_summary_is_measured_again(reference, tmp_path, case):
    (name, damage), job = case, copy_of(reference, tmp_path)
    (job / "summary.json").unlink()
    DAMAGE[damage](job / name)
    assert run_again(job) == 0
    body = summary(job)
    assert body["status"] == "complete"
    assert body["evaluated"] == ("last" if name.startswith("checkpoints/best") else "best")
    figures = [
        key
        for key in summary(reference)["metrics"]
        if key.startswith("val/" if body["evaluated"] == "last" else ("val/", "test/"))
    ]
    assert {key: body["metrics"].get(key) for key in figures} == {
        key: summary(reference)["metrics"][key] for key in figures
    }
    assert body["repairs"]
