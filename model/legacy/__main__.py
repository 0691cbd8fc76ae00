"""``python -m model.legacy <an old command>`` prints the command of train.py that replaces it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from model.errors import ConfigError
from model.legacy._old_command import new_command
from model.legacy._old_command_line import read
from model.legacy._old_scripts import SCRIPTS

USAGE = f"""usage: python -m model.legacy [<script>] [--key value, --key=value or key=value] …

<script> is one of {", ".join(SCRIPTS)}; the flags are those that the script took.
Prints the command of train.py with the same meaning, and the differences below it, each after a #.
docs/migration.md lists the flags and what replaces them."""


def main(words: Sequence[str]) -> int:
    """Prints the new command. Returns the exit code: 0 for success, 2 for a script, a flag or a value that is not
    known.
    """
    if {"-h", "--help"} & set(words):
        print(USAGE)
        return 0
    try:
        command = new_command(*read(words))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(command.line(), *(f"# {note}" for note in command.notes), sep="\n")
    return 0


if __name__ == "__main__":
    if __package__ == "model":  # python -m model finds this file, because this folder is on the package's path
        sys.exit(
            "python -m model runs nothing; allowed: python train.py, python -m model.report, python -m model.legacy"
        )
    sys.exit(main(sys.argv[1:]))
