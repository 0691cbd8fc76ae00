"""Finds the pictures that match a text best. Shapes: N pictures, D features."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model.data.remembered import remembered
from model.data.text import escape
from model.trained.file_features import FileFeatures, encode_files, report_left_out
from model.trained.trained_model import TrainedModel


class Hit(NamedTuple):
    """A picture that was found."""

    score: float
    """The cosine of the features of the picture and of the text, -1 to 1."""
    path: str


def find(model: TrainedModel, text: str, files: Sequence[str], top: int, batch_size: int = 64) -> list[Hit]:
    """Returns the `top` pictures with the highest cosine with the text, the best first. Equal pictures keep the order
    of `files`. Files that cannot be read are left out, and named on the standard error stream.

    Raises ConfigError if none of the files can be read.
    """
    pictures = remembered_features(model, files, batch_size)
    report_left_out(pictures.left_out, len(files))
    scores = (pictures.features @ model.encode_texts([text])[0]).tolist()
    order = sorted(range(len(scores)), key=lambda row: -scores[row])
    return [Hit(scores[row], pictures.paths[row]) for row in order[:top]]


def remembered_features(model: TrainedModel, files: Sequence[str], batch_size: int) -> FileFeatures:
    """Returns the features of picture files, from the user's cache folder if they were computed before with the same
    checkpoint and none of the files has changed since.
    """

    def compute() -> str:
        features, paths, left_out = encode_files(model, files, batch_size)
        rows = base64.b64encode(features.numpy().astype("<f4").tobytes()).decode("ascii")
        return json.dumps({"features": rows, "paths": paths, "left_out": left_out})

    version = "1"  # of the text that `compute` returns, and of how pictures are read
    inputs = (version, fingerprint(str(model.checkpoint)), *(fingerprint(file) for file in files))
    known = json.loads(remembered("features", inputs, compute))
    rows = np.frombuffer(base64.b64decode(known["features"]), "<f4").reshape(-1, model.features)
    return FileFeatures(torch.from_numpy(rows.astype(np.float32)), known["paths"], known["left_out"])


def fingerprint(path: str) -> str:
    """Returns a text that changes if the file at `path` changes: its name as given, its real path, its size and the
    times of its last changes.
    """
    try:
        status = os.stat(path)
        facts = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    except (OSError, ValueError):
        facts = "cannot be opened"
    return f"{path}\n{os.path.realpath(path)}\n{facts}"


def print_hits(text: str, hits: Sequence[Hit]) -> None:
    """Prints rank, score and path of the pictures that were found."""
    table = Table(title=Text(escape(text)), title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    for rank, hit in enumerate(hits, 1):
        table.add_row(f"{rank}", f"{hit.score:.3f}", Text(escape(hit.path)))
    Console().print(table)
