"""The arrays that ``python -m model.embed`` writes. Shapes: n views, N pictures, M texts, D features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from model.embed.run_data import run_source
from model.record.disk import writing
from model.record.files import replacing
from model.trained.file_features import encode_files, report_left_out
from model.trained.progress import progress_bar
from model.trained.trained_model import TrainedModel, batches

Arrays = dict[str, Any]
"""Name -> array, as numpy.savez takes them."""


def embed_inputs(model: TrainedModel, files: Sequence[str], texts: Sequence[str], batch_size: int) -> Arrays:
    """Returns the features of picture files and texts. Files that cannot be read are left out, counted and named on the
    standard error stream. Raises ConfigError if none of them can be read.
    """
    pictures = encode_files(model, files, batch_size)
    if files:
        report_left_out(pictures.left_out, len(files))
    rows = [model.encode_texts([])]
    with progress_bar("texts", len(texts)) as advance:
        for batch in batches(len(texts), batch_size):
            rows.append(model.encode_texts(texts[batch], batch_size))
            advance(len(texts[batch]))
    return {
        "image_features": pictures.features.numpy(),
        "text_features": torch.cat(rows).numpy(),
        "paths": np.array(pictures.paths, dtype=np.str_),
        "texts": np.array(texts, dtype=np.str_),
    }


def embed_split(model: TrainedModel, split: str, batch_size: int) -> Arrays:
    """Returns the features of a split of the run's data: those of the pictures and of caption 1, and all views. The
    path of a picture is `<split>/<row>`, because not every source has files.

    Raises ConfigError if the data of the run are no longer there.
    """
    source = run_source(model)
    size = source.size(split)
    views, texts = [], list[str]()
    with progress_bar(split, size) as advance:
        for batch in batches(size, batch_size):
            rows = range(size)[batch]
            captions = [row[: model.captions] for row in source.texts(split, rows)]
            views.append(model.encode_views(source.images(split, rows), captions, batch_size))
            texts += [row[0] for row in captions]
            advance(len(rows))
    joined = torch.cat(views, dim=1)
    units = F.normalize(joined, dim=-1)
    return {
        "image_features": units[0].numpy(),
        "text_features": units[1].numpy(),
        "paths": np.array([f"{split}/{row}" for row in range(size)], dtype=np.str_),
        "texts": np.array(texts, dtype=np.str_),
        "views": joined.numpy(),
        "names": np.array(model.names, dtype=np.str_),
    }


def write_features(path: Path, arrays: Arrays) -> str:
    """Writes the arrays to `path`, complete or not at all. Returns a line that says what the file holds. Raises
    NotWritten.
    """
    with writing(path):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, **arrays)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    return f"{path}: {shapes}"
