"""The report of a run that has just ended."""

from __future__ import annotations

import warnings
from pathlib import Path

from model.record.disk import write_failure


def draw_report(folder: Path) -> list[Path]:
    """Writes report/ and returns its pictures. What goes wrong is a warning, as the run itself went well, or has its
    own reason not to; but an error of the file system is raised.
    """
    try:
        # Here, as matplotlib takes a while to load and is not needed before.
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
