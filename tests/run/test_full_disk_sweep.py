"""A sweep on a full disk: a job or the comparison fails, and the same command continues when there is room."""

from __future__ import annotations

import pytest

from tests.run.full_disk import FULL, assert_two_lines, command, incomplete, no_room_for
from tests.run.sweeps import compared, job_folder

__all__ = ["command"]
CLIP = ("model=clip", "model.captions=1", "loss=stock")


@pytest.mark.slow
def test_a_sweep_continues_after_a_job_that_does_not_fit(command, tmp_path):
    arguments, folder = ("-m", *CLIP, "seed=2,1", "trainer.max_epochs=1"), tmp_path / "sweep"
    with no_room_for("seed2_", "checkpoints"):
        assert command(*arguments, folder=folder) == (1, [])
    (row,) = compared(folder)
    assert (row["seeds"], row["ok"]) == ("1", "1")
    assert [
        word
        for word in (str(job_folder(folder, "stock_seed2") / "checkpoints"), FULL, "bytes")
        if word not in row["failures"]
    ] == []
    assert command(*arguments, folder=folder) == (0, [])
    assert (compared(folder)[0]["seeds"], compared(folder)[0]["failures"]) == ("1 2", "")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["comparison.csv", "comparison.png", "multirun.yaml"])
def test_a_comparison_that_does_not_fit_is_named_and_written_later(command, tmp_path, part):
    arguments = ("-m", *CLIP, "seed=1", "trainer.max_epochs=1")
    with no_room_for(f"sweep/.{part}"):
        code, lines = command(*arguments, folder=tmp_path / "sweep")
    assert code == 1
    assert_two_lines(lines, str(tmp_path / "sweep" / part), FULL, "bytes were to be written")
    assert command(*arguments, folder=tmp_path / "sweep") == (0, [])
    assert incomplete(tmp_path / "sweep") == []


@pytest.mark.slow
def test_a_next_job_whose_folder_cannot_be_made_ends_the_sweep(command, tmp_path):
    """The finished jobs are compared, and the same command continues."""
    arguments = ("-m", *CLIP, "seed=1,2", "trainer.max_epochs=1")
    with no_room_for("seed2_", ".hydra"):
        code, lines = command(*arguments, folder=tmp_path / "sweep")
    assert code == 1
    assert_two_lines(lines, str(tmp_path / "sweep"), FULL, "bytes are free")
    assert compared(tmp_path / "sweep")[0]["seeds"] == "1"
    assert command(*arguments, folder=tmp_path / "sweep") == (0, [])
    assert compared(tmp_path / "sweep")[0]["seeds"] == "1 2"
