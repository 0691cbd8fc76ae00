"""A report whose pictures are drawn by two processes is that of one process, also where the second one fails."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from model.report.draw import draw_report, start_report
from model.report.pictures import collected
from model.side_process import SideProcess


def files(report: Path) -> dict[str, bytes]:
    """Returns the name and the content of each file of a report."""
    return {path.name: path.read_bytes() for path in report.iterdir()}


@pytest.mark.parametrize("ends", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_report_is_that_of_one_process(folder, tmp_path, ends):
    """ends: the second process is killed before it draws."""
    copy = tmp_path / folder.name  # the page names its folder
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report"))
    with SideProcess([]) as side:
        assert side._process is not None
        if ends:
            os.kill(side._process.pid, signal.SIGKILL)
        started = start_report(copy, side)
        side.begin()
        paths = draw_report(copy, side, started)
        assert side.is_running != ends
    assert {path.name for path in paths} == {path.name for path in (folder / "report").glob("*.png")}
    assert files(copy / "report") == files(folder / "report")


@pytest.mark.usefixtures("unpainted")
def test_the_pictures_before_the_analysis_are_those_that_need_none_of_its_files(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report", "analysis.json", "cka.npz", "examples"))
    drawn = collected(start_report(folder, SideProcess())).drawn
    assert drawn == collected(start_report(copy, SideProcess())).drawn
    every = {path.stem for path in (folder / "report").glob("*.png")}
    late = {name for name in every if name.startswith(("retrieval_", "alignment_", "cka_"))} | {"examples"}
    assert set(drawn) == every - late
