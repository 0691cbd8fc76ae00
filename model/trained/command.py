"""Parts of the commands that use a trained model: arguments, messages and exit codes. Imports no large package, so that
`--help` is fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from model.errors import ConfigError
from model.record.disk import description


class Arguments(argparse.ArgumentParser):
    """Reads the arguments of a command. A mistake raises ConfigError, with the usage in the second line."""

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{message}\n{' '.join(self.format_usage().split())}")


def positive_number(text: str) -> int:
    """Returns a whole number of 1 or more. Raises argparse.ArgumentTypeError for another text."""
    if not (text.isdecimal() and text.isascii() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the argument `run`."""
    parser.add_argument("run", type=Path, help="folder of a run (best.ckpt is used), or one of its checkpoint files")


def add_computation(parser: argparse.ArgumentParser) -> None:
    """Adds the options --batch-size and --device."""
    parser.add_argument(
        "--batch-size", type=positive_number, default=64, metavar="N", help="pictures or texts at once (default: 64)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or a GPU such as cuda or cuda:1 (default: cpu)")


def exit_code(command: Callable[[], int]) -> int:
    """Returns the exit code of a command: its own, 1 if a file cannot be written, 2 for a mistake in its arguments or a
    damaged run, 130 after Ctrl-C. Prints one message, of at most two lines, for an error.
    """
    try:
        return command()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno is None:  # not from the file system
            raise
        print(description(error, Path(error.filename or ".")), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
