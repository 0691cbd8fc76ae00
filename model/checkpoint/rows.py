"""Rows that a run's files have lost since its checkpoint was written: noticed before the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.checkpoint.files import LAST, checkpoint_path, read_checkpoint
from model.record import health_jsonl, metrics_csv
from model.record.files import remove_unfinished, write_whole
from model.record.folder import METRICS
from model.record.repairs import move_damaged, record_repair

# File -> the callback that writes it, and the step of each of its sound lines (None: the line is no row).
ROW_FILES: dict[str, tuple[str, Callable[[list[str]], list[int | None]]]] = {
    METRICS: ("JournalCallback", metrics_csv.sound_steps),
    health_jsonl.FILE: ("GradientHealthCallback", health_jsonl.sound_steps),
}


def repair_folder(run_dir: Path, start: Path | None) -> None:
    """Before a run trains: removes what killed processes were writing, and mends the files of rows where the run goes
    on in its own folder, from `start`. For the first process.
    """
    remove_unfinished(run_dir)
    if start is not None and start.parent.resolve() == checkpoint_path(run_dir, LAST).parent.resolve():
        checkpoint = read_checkpoint(start, mapped=True)
        for name in ROW_FILES:
            mend_rows(run_dir, name, checkpoint)


def mend_rows(run_dir: Path, name: str, checkpoint: dict[str, Any]) -> None:
    """Moves a damaged file aside and keeps the rows before the damage. Records it where rows are missing that the
    checkpoint knows of.
    """
    callback, sound_steps = ROW_FILES[name]
    path, known = run_dir / name, checkpoint["callbacks"].get(callback, {}).get("rows")
    lines, other = text_lines(path)
    sound = sound_steps(lines)
    if other or len(sound) < len(lines):
        move_damaged(run_dir, path, f"line {len(sound) + 1} cannot be read", "the rows before that line are kept")
        write_lines(path, lines[: len(sound)])
    steps = [step for step in sound if step is not None]
    kept = [step for step in steps[:known] if step <= checkpoint["global_step"]]
    if known is not None and len(kept) < known:
        record_repair(
            run_dir,
            f"{name} has {len(kept)} of the {known} rows that were written before the checkpoint; the others are lost",
        )
        # Without the rows that come after the checkpoint, which will be written again.
        write_lines(path, lines[: len(sound) - len(steps) + len(kept)])


def write_lines(path: Path, lines: list[str]) -> None:
    """Replaces a text file."""
    write_whole(path, "".join(f"{line}\n" for line in lines))


def text_lines(path: Path) -> tuple[list[str], bool]:
    """The lines of a text file, as far as it is text, and whether something else follows. A last line cut by a kill is
    left out.
    """
    if not path.is_file():
        return [], path.exists()
    *whole, cut = path.read_bytes().split(b"\n")
    lines: list[str] = []
    for line in whole:
        if not is_text(line):
            return lines, True
        lines.append(line.decode())
    return lines, not is_text(cut)


def is_text(line: bytes) -> bool:
    """Whether it is UTF-8 without zero bytes."""
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False
