"""Writes the report of a run that has just ended, without turning a failure of the report into a failure of the run."""

from __future__ import annotations

import warnings
from pathlib import Path

from model.record.disk import write_failure


def draw_report(folder: Path) -> list[Path]:
    """Writes report/ and returns the paths of its pictures. An error becomes a warning, because the run has already
    ended; an error of the file system is raised.
    """
    try:
        # Imported here: loading matplotlib takes time, and nothing needs it before.
        from model.report.page import write_report

        return [path for path in write_report(folder) if path.suffix == ".png"]
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
