"""Reads the rows of a table: a CSV, TSV, JSON Lines or Parquet file. pyarrow is imported only for Parquet."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from model.data.annotation_problems import Problem, damaged_file, describe
from model.data.text import one_line
from model.errors import ConfigError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# The files that describe the pictures of a folder, as in Hugging Face's imagefolder.
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
ALLOWED = f"a file {', '.join(SUFFIXES)}, or a folder with {', '.join(METADATA)}"
# A byte order mark -> the encoding of the text behind it.
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class TableRow(NamedTuple):
    """One row of a table."""

    line: int
    """The line in which the row begins; for Parquet, the number of the row. Both are counted from 1."""
    values: dict[str, Any]
    """Column -> value: a text in a CSV or TSV file, any value of JSON in the others."""


class Table(NamedTuple):
    """The content of a table, which is read while `rows` is consumed."""

    columns: list[str] | None
    """None for JSON Lines, in which each line names its own columns."""
    rows: Iterator[TableRow | Problem]
    """A Problem takes the place of a row that cannot be read."""


def table_file(root: str | None, key: str = "data.root") -> Path:
    """Returns the file of the table that `key` names. Raises ConfigError if there is none, if a folder has several, or
    if the package for its format is missing.
    """
    if root is None:
        raise ConfigError(f"{key}=null names no table; allowed: {ALLOWED}")
    path = Path(root).expanduser()
    if path.is_dir():
        found = [path / name for name in METADATA if (path / name).is_file()]
        if len(found) != 1:
            problem = "has no metadata file" if not found else f"has {' and '.join(file.name for file in found)}"
            raise ConfigError(f"{key}={root} {problem}; allowed: {ALLOWED}{' (one of them)' if found else ''}")
        path = found[0]
    elif not path.is_file():
        raise ConfigError(f"{key}={root} is neither a file nor a folder; allowed: {ALLOWED}")
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{key}={root} is no table that can be read; allowed: {ALLOWED}")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(
            f"{key}={root} cannot be read without the package `pyarrow`; allowed: pip install nway-clip[parquet]"
        )
    return path


def read_table(file: Path, wanted: Sequence[str]) -> Table:
    """Reads a table. wanted: the columns that are used; of a Parquet file, only these are read.

    Raises DamagedAnnotations if the file cannot be used at all.
    """
    match file.suffix.lower():
        case ".parquet":
            return read_parquet(file, wanted)
        case ".jsonl" | ".ndjson":
            return Table(None, json_rows(file, read_text(file)))
        case ".tsv":
            return read_separated(file, "\t")
        case _:
            return read_separated(file, ",")


def read_text(file: Path) -> str:
    """Returns the text of a file in UTF-8, or in UTF-16 with a byte order mark. Line ends are unchanged."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise damaged_file(file, f"cannot be read ({error.strerror}); allowed: a readable file") from error
    marks = ((mark, encoding) for mark, encoding in BYTE_ORDER_MARKS.items() if content.startswith(mark))
    mark, encoding = next(marks, (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        start = error.start + len(mark)
        line = content[len(mark) : start].decode(encoding, "replace").count("\n") + 1
        reason = f"byte {start} (0x{content[start]:02x}) is not valid {encoding.upper()}; allowed: text in UTF-8"
        raise damaged_file(file, reason, line) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise damaged_file(file, "holds a NUL byte; allowed: text in UTF-8", line)
    return text


def read_separated(file: Path, separator: str) -> Table:
    """Reads a CSV or TSV file: fields may be in double quotes, and may then contain line ends."""
    lines = iter(csv_lines(read_text(file)))
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise damaged_file(file, separated_problem(error), 1) from error
    if not header:
        raise damaged_file(file, "has no header; allowed: a first line with the names of the columns", 1)
    repeated = next((name for number, name in enumerate(header) if name in header[:number]), None)
    if repeated is not None:
        raise damaged_file(file, f"names the column {one_line(repeated)!r} twice; allowed: each name once", 1)
    return Table(header, separated_rows(file, reader, header))


def csv_lines(text: str) -> Iterator[str]:
    """Yields the lines of a text with their ends: \\n, \\r\\n or \\r. Other separators of `str.splitlines` are text."""
    position = 0
    old_ends = "\n" not in text  # only \r, as in files of old spreadsheets
    while position < len(text):
        end = text.find("\r" if old_ends else "\n", position)
        end = len(text) if end < 0 else end + 1
        yield text[position:end]
        position = end


def separated_rows(file: Path, reader: Any, header: list[str]) -> Iterator[TableRow | Problem]:
    """Yields the rows behind the header. Empty lines are skipped. Ends at a line that cannot be read, because nothing
    says where the next row begins.
    """
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Problem(file, line, separated_problem(error))
            return
        if fields is None:
            return
        if len(fields) == len(header):
            yield TableRow(line, dict(zip(header, fields, strict=True)))
        elif fields:
            count = f"{len(fields)} field{'' if len(fields) == 1 else 's'}"
            yield Problem(file, line, f"has {count}; allowed: {len(header)}, as in the first line")


def separated_problem(error: csv.Error) -> str:
    """Returns what is wrong with a row that the csv module cannot read."""
    if "unexpected end of data" in str(error) or "field larger" in str(error):
        return "begins a field with a double quote that nothing closes; allowed: double quotes in pairs"
    return f"cannot be read ({error}); allowed: fields with double quotes around the whole field, and doubled inside it"


def json_rows(file: Path, text: str) -> Iterator[TableRow | Problem]:
    """Yields the row of each line of JSON. Empty lines are skipped."""
    for number, content in enumerate(text.split("\n"), 1):
        if not content or content.isspace():
            continue
        try:
            value = json.loads(content)
        except json.JSONDecodeError as error:
            yield Problem(file, number, f"is not JSON: {error.msg} (column {error.colno}); allowed: an object per line")
            continue
        except (ValueError, RecursionError):
            yield Problem(file, number, "has a number that is too long, or is nested too deeply; allowed: plain JSON")
            continue
        if isinstance(value, dict):
            yield TableRow(number, value)
        else:
            yield Problem(file, number, f"holds {describe(value)}; allowed: an object per line")


def read_parquet(file: Path, wanted: Sequence[str]) -> Table:
    """Reads the columns `wanted` of a Parquet file."""
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        reason = one_line(str(error).strip() or type(error).__name__)
        raise damaged_file(file, f"cannot be read ({reason}); allowed: a Parquet file") from error
    return Table(list(opened.schema_arrow.names), parquet_rows(file, opened, wanted))


def parquet_rows(file: Path, opened: Any, wanted: Sequence[str]) -> Iterator[TableRow | Problem]:
    """Yields the rows of an open Parquet file. Ends at a block that cannot be read."""
    import pyarrow

    number = 0
    try:
        for block in opened.iter_batches(batch_size=4096, columns=list(wanted)):
            for values in block.to_pylist():
                number += 1
                yield TableRow(number, values)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = one_line(str(error).strip() or type(error).__name__)
        yield Problem(file, None, f"cannot be read after row {number} ({reason}); allowed: a whole Parquet file")
