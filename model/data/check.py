"""``python -m model.data.check data=coco data.root=<folder>``: prints which data a run with these settings would use,
and which data it would leave out.

It takes the arguments of train.py. Exit codes: 0 everything is used, 1 something is left out or damaged, 2 a mistake in
the settings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Prints the report. Returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    from model.data.check_report import check_data  # imports torch, which the help does not need

    return check_data(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
