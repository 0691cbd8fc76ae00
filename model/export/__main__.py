"""``python -m model.export <run> <folder>`` writes the model of a run as a CLIPModel of transformers, with tokeniser,
image processor and model card.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from model.imports import large_imports
from model.trained.command import Arguments, add_run, exit_code


def parser() -> Arguments:
    """Returns the parser of the arguments."""
    arguments = Arguments(
        prog="python -m model.export",
        description="Writes the trained model of a run as a folder that transformers loads without this project: a "
        "CLIPModel with its tokeniser, image processor and model card. It has the views image and caption_1.",
    )
    add_run(arguments)
    arguments.add_argument("folder", type=Path, help="the folder to write; it must not exist, or be empty")
    arguments.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="type of the stored weights (default: float32, as trained); float64 stores the product of two trained "
        "matrices without rounding it to float32",
    )
    arguments.add_argument("--overwrite", action="store_true", help="replace a folder that is not empty")
    return arguments


def main(arguments: Sequence[str]) -> int:
    """Writes the folder and prints what it holds. Returns the exit code: see `exit_code`."""

    def command() -> int:
        chosen = parser().parse_args(arguments)
        with large_imports():
            from model.export.clip_folder import check_target, export

        check_target(chosen.folder, overwrite=chosen.overwrite)
        for line in export(chosen.run, chosen.folder, chosen.dtype):
            print(line)
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
