"""Writes the report of a run that has just ended, without turning a failure of the report into a failure of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model.record.disk import write_failure
from model.side_process import SideProcess

if TYPE_CHECKING:  # loading matplotlib takes time, and nothing needs it before
    from model.report.pictures import Pictures


def draw_before_analysis(folder: Path) -> Pictures:
    """Draws the pictures of the report that need no file of the analysis."""
    from model.report.pictures import draw_before_analysis

    return draw_before_analysis(folder)


def draw_report(
    folder: Path, side: SideProcess | None = None, before: Callable[[], Pictures] | None = None
) -> list[Path]:
    """Writes report/ and returns the paths of its pictures. An error becomes a warning, because the run has already
    ended; an error of the file system is raised.

    side: draws a part of the pictures; before: gives the result of `draw_before_analysis` if it was started earlier.
    """
    try:
        from model.report.page import write_report

        return [path for path in write_report(folder, side, before) if path.suffix == ".png"]
    except Exception as error:
        if write_failure(error, folder):
            raise
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"the report was not drawn ({reason}); to try again: python -m model.report {folder}",
            RuntimeWarning,
            stacklevel=2,
        )
        return []
