"""repairs.txt: what was damaged or missing in a run's folder, and what was done about it, one sentence a line.
summary.json repeats it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from model.record.files import append, set_aside

log = logging.getLogger(__name__)
REPAIRS = "repairs.txt"


def record_repair(run_dir: Path, sentence: str) -> None:
    """Warns, and adds the sentence to the file. Files, because the run may be killed and continued before it writes its
    summary.
    """
    log.warning("%s (in %s)", sentence, run_dir)
    append(run_dir / REPAIRS, sentence + "\n")


def read_repairs(run_dir: Path) -> list[str]:
    """The sentences; none where nothing was repaired."""
    path = run_dir / REPAIRS
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def move_damaged(run_dir: Path, path: Path, reason: str, instead: str) -> None:
    """Moves a damaged file or folder of the run aside and records it. instead: what is used now, in words."""
    aside = set_aside(path)
    record_repair(
        run_dir, f"{path.relative_to(run_dir)} is damaged ({reason}) and was renamed to {aside.name}; {instead}"
    )
