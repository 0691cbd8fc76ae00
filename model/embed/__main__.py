"""``python -m model.embed <run> --images <folder> --texts <file> --out features.npz`` writes features of pictures and
texts, with the trained model of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ConfigError
from model.imports import large_imports
from model.trained.command import Arguments, add_computation, add_run, exit_code
from model.trained.picture_list import lines_of, picture_files

SPLITS = ("train", "val", "test")


def parser() -> Arguments:
    """Returns the parser of the arguments."""
    arguments = Arguments(
        prog="python -m model.embed",
        description="Writes features of pictures and texts to an .npz file: image_features (N, D) with paths (N,), and "
        "text_features (M, D) with texts (M,). Rows have length 1. With --split, the file also has views (n, N, D), "
        "which are not scaled to length 1, and their names.",
    )
    add_run(arguments)
    arguments.add_argument(
        "--images", type=Path, metavar="FOLDER", help="folder of pictures, or a text file with one path in each line"
    )
    arguments.add_argument("--texts", type=Path, metavar="FILE", help="text file with one text in each line")
    arguments.add_argument("--split", choices=SPLITS, help="instead of --images and --texts: a split of the run's data")
    arguments.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the file to write")
    add_computation(arguments)
    return arguments


def main(arguments: Sequence[str]) -> int:
    """Writes the file and prints what it holds. Returns the exit code: see `exit_code`."""

    def command() -> int:
        chosen = parser().parse_args(arguments)
        if chosen.split is not None and (chosen.images or chosen.texts):
            raise ConfigError("--split is given with --images or --texts; allowed: --split alone, or the others")
        if chosen.split is None and not (chosen.images or chosen.texts):
            raise ConfigError("nothing to embed is given; allowed: --images, --texts or both, or --split")
        files = picture_files(chosen.images) if chosen.images else []
        texts = lines_of(chosen.texts, "--texts", "a text file with one text in each line") if chosen.texts else []
        with large_imports():
            from model.embed.features import embed_inputs, embed_split, write_features
            from model.trained.loading import load_run

        model = load_run(chosen.run, chosen.device)
        if chosen.split is not None:
            features = embed_split(model, chosen.split, chosen.batch_size)
        else:
            features = embed_inputs(model, files, texts, chosen.batch_size)
        print(write_features(chosen.out, features))
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
