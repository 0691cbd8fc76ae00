"""``python -m model.search <run> "a red circle" --images <folder>`` prints the pictures that match the text best, and
writes them as a page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from model.imports import large_imports
from model.trained.command import Arguments, add_computation, add_run, exit_code, positive_number
from model.trained.picture_list import picture_files


def parser() -> Arguments:
    """Returns the parser of the arguments."""
    arguments = Arguments(
        prog="python -m model.search",
        description="Prints the pictures that match a text best, by the cosine of their features. The features of the "
        "pictures are kept in the user's cache folder until the pictures or the run change.",
    )
    add_run(arguments)
    arguments.add_argument("text", help='what to search for, such as "a red circle"')
    arguments.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of pictures, or a text file with one path in each line",
    )
    arguments.add_argument(
        "--top", type=positive_number, default=10, metavar="N", help="how many pictures to show (default: 10)"
    )
    arguments.add_argument("--html", type=Path, metavar="FILE.html", help="also write a page with the pictures")
    add_computation(arguments)
    return arguments


def main(arguments: Sequence[str]) -> int:
    """Prints the table and writes the page. Returns the exit code: see `exit_code`."""

    def command() -> int:
        chosen = parser().parse_args(arguments)
        files = picture_files(chosen.images)
        with large_imports():
            from model.search.hits import find, print_hits
            from model.search.page import write_page
            from model.trained.loading import load_run

        model = load_run(chosen.run, chosen.device)
        hits = find(model, chosen.text, files, chosen.top, chosen.batch_size)
        print_hits(chosen.text, hits)
        if chosen.html is not None:
            write_page(chosen.html, chosen.text, hits, str(chosen.run))
            print(f"page: {chosen.html}")
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
