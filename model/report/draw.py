"""Writes the report of a run that has just ended, without turning a failure of the report into a failure of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model.record.disk import write_failure
from model.side_process import SideProcess

if TYPE_CHECKING:
    from model.report.pictures import Pictures

Started = Sequence["Callable[[], Pictures]"]


def start_report(folder: Path, side: SideProcess) -> Started:
    """Starts to draw the pictures of the report that need no file of the analysis. Returns functions that wait for
    them; none if they cannot be drawn now.
    """
    try:
        # Imported here: loading matplotlib takes time, and nothing needs it before.
        from model.report.pictures import start_before_analysis

        return start_before_analysis(folder, side)
    except Exception:  # `draw_report` meets the error again and explains it
        return []


def draw_report(folder: Path, side: SideProcess | None = None, started: Started = ()) -> list[Path]:
    """Writes report/ and returns the paths of its pictures. An error becomes a warning, because the run has already
    ended; an error of the file system is raised.

    side: draws a part of the pictures; started: the result of `start_report`, if it was called earlier.
    """
    try:
        from model.report.page import write_report

        return [path for path in write_report(folder, side, started) if path.suffix == ".png"]
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
