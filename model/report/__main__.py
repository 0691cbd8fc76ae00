"""``python -m model.report <folder>`` writes the report of a run, or the comparison of a sweep, again from its
files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from model.errors import ConfigError
from model.record.disk import write_failure
from model.report.run_files import MARKS, is_run

USAGE = "usage: python -m model.report <folder of a run or of a sweep>"


def main(arguments: list[str]) -> int:
    """Writes the report and prints the paths of its files. Exit codes: 0 success, 1 a file cannot be written, 2 the
    folder is neither a run's nor a sweep's.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 0 if {"-h", "--help"} & set(arguments) else 2
    try:
        files = write_for(Path(arguments[0]))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        failure = write_failure(error, Path(arguments[0]))
        if failure is None:
            raise
        print(failure, file=sys.stderr)
        return 1
    print(*files, sep="\n")
    return 0


def write_for(folder: Path) -> list[Path]:
    """Writes the report of a run, or the comparison of a sweep; returns the paths of the files. Raises ConfigError if
    the folder is neither a run's nor a sweep's.
    """
    if is_run(folder):
        from model.report.page import write_report

        return write_report(folder)
    try:
        from model.report.sweep_report import write_comparison

        return write_comparison(folder)
    except ConfigError as error:
        marks = ", ".join(MARKS)
        raise ConfigError(
            f"{folder} is neither a run's folder nor a sweep's; allowed: a folder that holds one of {marks}, "
            f"or a folder of such folders"
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
