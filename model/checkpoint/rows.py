"""Repairs the files of rows before a run resumes: detects damaged lines, and rows that are missing although the
checkpoint counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.checkpoint.files import LAST, checkpoint_path, read_checkpoint
from model.record import health_jsonl, metrics_csv
from model.record.files import remove_unfinished, write_whole
from model.record.folder import METRICS
from model.record.repairs import move_damaged, record_repair

# File -> the key of its writer's state in a checkpoint, and a function that returns the step of each line up to the
# first damaged one (None for a header).
ROW_FILES: dict[str, tuple[str, Callable[[list[str]], list[int | None]]]] = {
    METRICS: (metrics_csv.STATE_KEY, metrics_csv.sound_steps),
    health_jsonl.FILE: ("GradientHealthCallback", health_jsonl.sound_steps),
}


def repair_folder(run_dir: Path, start: Path | None) -> None:
    """Removes the incomplete files of killed processes. If the run resumes from a checkpoint of its own folder,
    `start`, also repairs the files of rows. For the first process of a run, before it trains.
    """
    remove_unfinished(run_dir)
    if start is not None and start.parent.resolve() == checkpoint_path(run_dir, LAST).parent.resolve():
        checkpoint = read_checkpoint(start, mapped=True)
        for name in ROW_FILES:
            repair_rows(run_dir, name, checkpoint)


def repair_rows(run_dir: Path, name: str, checkpoint: dict[str, Any]) -> None:
    """Renames a damaged file and writes the rows before the damage again. Records a repair if the file has fewer rows
    than the checkpoint counts.
    """
    state_key, sound_steps = ROW_FILES[name]
    path, counted = run_dir / name, checkpoint["callbacks"].get(state_key, {}).get("rows")
    lines, has_other_bytes = text_lines(path)
    sound = sound_steps(lines)
    if has_other_bytes or len(sound) < len(lines):
        move_damaged(run_dir, path, f"line {len(sound) + 1} cannot be read", "the rows before that line are kept")
        write_lines(path, lines[: len(sound)])
    steps = [step for step in sound if step is not None]
    before = [step for step in steps[:counted] if step <= checkpoint["global_step"]]
    if counted is not None and len(before) < counted:
        rows = f"{len(before)} of the {counted} rows that were written before the checkpoint"
        record_repair(run_dir, f"{name} has {rows}; the others are lost")
        # The rows after the checkpoint are removed: the run writes them again.
        write_lines(path, lines[: len(sound) - len(steps) + len(before)])


def write_lines(path: Path, lines: list[str]) -> None:
    """Replaces a text file by these lines."""
    write_whole(path, "".join(f"{line}\n" for line in lines))


def text_lines(path: Path) -> tuple[list[str], bool]:
    """Returns the lines of a text file up to the first line that is not text, and whether there is such a line. An
    incomplete last line is left out.
    """
    if not path.is_file():
        return [], path.exists()
    *complete, incomplete = path.read_bytes().split(b"\n")
    lines: list[str] = []
    for line in complete:
        if not is_text(line):
            return lines, True
        lines.append(line.decode())
    return lines, not is_text(incomplete)


def is_text(line: bytes) -> bool:
    """Whether the line is UTF-8 without zero bytes."""
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False
