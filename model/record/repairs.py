"""Writes repairs.txt: what was damaged or missing in a run's folder, and what the run did about it, one sentence a
line. summary.json contains the same sentences.
"""

from __future__ import annotations

import logging
from pathlib import Path

from model.record.files import append, rename_damaged

log = logging.getLogger(__name__)
REPAIRS = "repairs.txt"


def record_repair(run_dir: Path, sentence: str) -> None:
    """Logs the sentence as a warning and appends it to repairs.txt. A file keeps it even if the run is killed and
    continued before it writes its summary.
    """
    log.warning("%s (in %s)", sentence, run_dir)
    append(run_dir / REPAIRS, sentence + "\n")


def read_repairs(run_dir: Path) -> list[str]:
    """Returns the sentences of repairs.txt; none if nothing was repaired."""
    path = run_dir / REPAIRS
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def move_damaged(run_dir: Path, path: Path, reason: str, instead: str) -> None:
    """Renames a damaged file or folder of the run and records the repair. instead: a clause that says what the run uses
    now.
    """
    target = rename_damaged(path)
    record_repair(
        run_dir, f"{path.relative_to(run_dir)} is damaged ({reason}) and was renamed to {target.name}; {instead}"
    )
