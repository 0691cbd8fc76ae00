"""One damaged file in the folder of a sweep's job: the next run of the same command mends it or names it, and ends as
if nothing had been.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import some
from tests.run.damaged import DAMAGE, copied, differences, go_on, make_cut, make_whole, step, summary

# Of a killed job. The run repeats what came after its checkpoint, so that nothing is lost.
MENDED = [
    *(
        ("checkpoints/last.ckpt", how)
        for how in ("flipped bit", "half", "zeros", "cut tail", "text", "empty", "folder", "pickle", "missing")
    ),
    *(("tokenizer/tokenizer.json", how) for how in ("half", "empty", "binary")),
    ("tokenizer", "empty folder"),
]
BEST = [("checkpoints/best.ckpt", how) for how in ("flipped bit", "missing", "half", "folder", "empty")]
# Of a killed job. Rows that only these files had are lost.
ROWS = [
    *(
        ("metrics.csv", how)
        for how in (
            "binary",
            "no header",
            "cut line",
            "zero bytes",
            "not UTF-8",
            "missing",
            "half",
            "line missing",
            "folder",
        )
    ),
    *(
        ("health.jsonl", how)
        for how in ("cut line", "binary", "zero bytes", "not UTF-8", "missing", "line missing", "empty")
    ),
]
# Written at a run's end: those of an earlier attempt are replaced.
REPLACED = [
    *(("summary.json", how) for how in ("list", "null", "binary", "no metrics", "half")),
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
def whole(tmp_path_factory) -> Path:
    """The job, never cut."""
    return make_whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The job, killed."""
    return make_cut(tmp_path_factory.mktemp("cut"))


@pytest.mark.parametrize("case", some(MENDED, 13))
def test_a_killed_job_with_a_damaged_file_ends_like_one_never_cut(whole, killed, tmp_path, case):
    (name, how), job = case, copied(killed, tmp_path)
    DAMAGE[how](job / name)
    assert go_on(job) == 0
    assert differences(job, whole) == []
    (repair,) = summary(job)["repairs"]
    assert repair.startswith(("checkpoints/last.ckpt is ", "tokenizer is damaged"))
    assert summary(job)["evaluated"] == "best"


@pytest.mark.parametrize("case", some(BEST, 5))
def test_a_lost_best_checkpoint_is_written_again_by_the_next_validation(whole, killed, tmp_path, case):
    (name, how), job = case, copied(killed, tmp_path)
    DAMAGE[how](job / name)
    assert go_on(job) == 0
    assert [found for found in differences(job, whole) if not found.startswith(("best", "test/"))] == []
    assert step(job, "best") in (6, 9), "of a validation after the cut, at step 5"
    (repair,) = summary(job)["repairs"]
    assert repair.startswith("checkpoints/best.ckpt is ")
    assert summary(job)["evaluated"] == "best"


@pytest.mark.parametrize("case", some(ROWS, 16))
def test_lost_rows_are_named_and_the_others_written(whole, killed, tmp_path, case):
    (name, how), job = case, copied(killed, tmp_path)
    DAMAGE[how](job / name)
    assert go_on(job) == 0
    assert set(differences(job, whole)) == {name}
    kept, wanted = ((folder / name).read_bytes().splitlines() for folder in (job, whole))
    assert set(kept) < set(wanted), "no row twice, none that the other run does not have"
    assert kept == [line for line in wanted if line in kept]
    assert wanted[-5:] == kept[-5:]
    assert any(
        f"{name} has" in repair and "rows that were written before the checkpoint" in repair
        for repair in summary(job)["repairs"]
    )


@pytest.mark.parametrize("case", some(REPLACED, 12))
@pytest.mark.parametrize("state", ["killed", pytest.param("ended", marks=pytest.mark.slow)])
def test_other_files_are_written_again_or_left_out(whole, killed, tmp_path, case, state):
    (name, how), job = case, copied(killed if state == "killed" else whole, tmp_path)
    (job / name).parent.mkdir(exist_ok=True)
    (job / name).touch()
    DAMAGE[how](job / name)
    assert go_on(job) == 0
    assert differences(job, whole) == []
    assert go_on(job) == 0


@pytest.mark.parametrize("case", some([*BEST, *MENDED, *ROWS], 34))
def test_an_ended_job_without_its_summary_is_measured_again(whole, tmp_path, case):
    (name, how), job = case, copied(whole, tmp_path)
    (job / "summary.json").unlink()
    DAMAGE[how](job / name)
    assert go_on(job) == 0
    body = summary(job)
    assert body["status"] == "complete"
    assert body["evaluated"] == ("last" if name.startswith("checkpoints/best") else "best")
    figures = [
        key
        for key in summary(whole)["metrics"]
        if key.startswith("val/" if body["evaluated"] == "last" else ("val/", "test/"))
    ]
    assert {key: body["metrics"].get(key) for key in figures} == {
        key: summary(whole)["metrics"][key] for key in figures
    }
    assert body["repairs"]
