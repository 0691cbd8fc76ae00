"""Writes the folder of an exported model: complete, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging as transformers_logging

from model.errors import ConfigError
from model.export.card import CARD, model_card
from model.export.clip_model import clip_model
from model.export.processor import processor
from model.record.disk import writing
from model.trained.loading import DTYPES, load_run


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Raises ConfigError if `folder` is a file, or is not empty and `overwrite` is False."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; allowed: a folder that does not exist, or is empty")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ConfigError(
            f"{folder} is not empty; allowed: an empty or new folder, or --overwrite to replace its files"
        )


def export(run: Path, folder: Path, dtype: str = "float32") -> list[str]:
    """Writes the trained model of a run to `folder` as a CLIPModel with processor and model card. Replaces files of the
    same names; other files in the folder stay. Returns lines that say what was written.

    run, dtype: as for `model.load`; dtype is also that of the stored weights. Raises ConfigError if the model cannot be
    exported, and NotWritten; then the folder is unchanged.
    """
    trained = load_run(run, dtype=dtype)
    clip, prepared = clip_model(trained, DTYPES[dtype]), processor(trained)
    card = model_card(trained, dtype)
    with complete_folder(folder) as new, no_progress_bars():
        clip.save_pretrained(new)
        prepared.save_pretrained(new)
        (new / CARD).write_text(card, encoding="utf-8")
        for file in new.iterdir():  # safetensors makes files that only their owner can read
            file.chmod((new / CARD).stat().st_mode)
    left_out = [name for name in trained.names if not name.startswith(("image", "caption_"))]
    views = f"; left out, because they need the encoder-decoder: {', '.join(left_out)}" if left_out else ""
    return [f"{folder}: a CLIPModel of transformers with the views image and caption_1{views}"]


@contextmanager
def complete_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder beside `folder`, and moves its files to `folder` at the end of the block. After an error,
    removes it and leaves `folder` unchanged. Raises NotWritten.
    """
    target = folder.absolute()
    new = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    with writing(folder):
        try:
            new.mkdir(parents=True)
            yield new
            if target.is_dir() and any(target.iterdir()):
                for file in sorted(new.iterdir()):
                    os.replace(file, target / file.name)
            else:
                os.replace(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Hides the progress bars of transformers within the block."""
    was_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            transformers_logging.enable_progress_bar()
