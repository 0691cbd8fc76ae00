"""The picture files and the texts that a command is given. Imports no large package."""

from __future__ import annotations

import os
from pathlib import Path

from model.errors import ConfigError, first_line

# The ends of the names of tables, and their column that has the paths.
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
COLUMN = "file_name"
# The ends of the names of picture files, in lower case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def picture_files(place: Path) -> list[str]:
    """Returns the paths of the picture files that `place` means, in a fixed order.

    place: a folder, whose picture files and those of its subfolders are meant, in alphabetical order, without hidden
    ones; a table that data=table reads, whose column `file_name` has the paths; or a text file with one path in each
    line. Paths are relative to the folder of the file. Raises ConfigError if there are none.
    """
    if place.is_dir():
        return folder_files(place)
    is_table = place.suffix.lower() in TABLES
    names = (
        table_names(place) if is_table else lines_of(place, "--images", "a folder, a table, or a text file of paths")
    )
    return [str(place.parent / name) for name in names]


def table_names(table: Path) -> list[str]:
    """Returns the different paths in the column `file_name` of a table, in its order. Raises ConfigError with the file
    and the line of the first row that has none.
    """
    # Here, because model.data imports torch.
    from model.data.annotation_problems import DamagedAnnotations, Problem
    from model.data.table_files import read_table, table_file
    from model.data.table_values import BadValue, picture_path

    names: dict[str, None] = {}
    for row in read_table(table_file(str(table), "--images"), [COLUMN]).rows:
        if isinstance(row, Problem):
            raise DamagedAnnotations([row])
        try:
            names[picture_path(COLUMN, row.values.get(COLUMN))] = None
        except BadValue as error:
            raise DamagedAnnotations([Problem(table, row.line, str(error))]) from error
    if not names:
        raise ConfigError(f"--images={table} has no row; allowed: a table with the column {COLUMN}")
    return list(names)


def folder_files(folder: Path) -> list[str]:
    """Returns the paths of the picture files in a folder and its subfolders."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures = (name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        files += [os.path.join(place, name) for name in pictures]
    if not files:
        raise ConfigError(f"--images={folder} has no picture file; allowed: files that end with {', '.join(SUFFIXES)}")
    return sorted(files)


def lines_of(file: Path, option: str, allowed: str) -> list[str]:
    """Returns the lines of a text file (UTF-8) that are not empty. Raises ConfigError if the file cannot be read or has
    no such line. option, allowed: for the message.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ConfigError(f"{option}={file} cannot be read ({reason}); allowed: {allowed}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"{option}={file} is empty; allowed: {allowed}")
    return lines
