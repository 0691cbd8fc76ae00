"""The report of a run that has just ended."""

from __future__ import annotations

import warnings
from pathlib import Path


def draw_report(folder: Path) -> list[Path]:
    """Writes report/ and returns its pictures. What goes wrong is a warning, as the run itself went well, or has its own reason not to."""
    try:
        # Here, as matplotlib takes a while to load and is not needed before.
        from model.report.page import write_report

        return [path for path in write_report(folder) if path.suffix == ".png"]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"the report was not drawn ({reason}); to try again: python -m model.report {folder}", RuntimeWarning, stacklevel=2)
        return []
