"""Small data for the tests of this folder."""

from __future__ import annotations

import pytest

from model.data.fonts import ADVICE, FONT_NAME, find_font
from model.data.module import CaptionData
from model.data.scenes import Scenes
from model.data.source import SplitSizes
from model.data.stamp_files import ADVICE as STAMPS_ADVICE
from model.data.stamp_files import find_folder
from model.data.tokenizer import train_tokenizer
from model.errors import ConfigError


def small_scenes(train: int = 22, val: int = 9, test: int = 8, *, image_size: int = 32, seed: int = 0) -> Scenes:
    """Returns a few scenes."""
    return Scenes(SplitSizes(train, val, test), image_size=image_size, seed=seed)


def small_data(source=None, **options) -> CaptionData:
    """Returns batches of four rows with two captions each."""
    source = source or small_scenes()
    texts = [text for captions in source.texts("train", range(min(64, source.size("train")))) for text in captions]
    defaults = {"batch_size": 4, "num_workers": 0, "captions": 2, "context_length": 24, "seed": 0}
    return CaptionData(source, train_tokenizer(texts, 400), **(defaults | options))


def font_missing() -> bool:
    """Returns whether this system has no colour-emoji font."""
    try:
        find_font(None)
    except ConfigError:
        return True
    return False


def stamps_missing() -> bool:
    """Returns whether this system has no folder of stamps."""
    try:
        find_folder(None)
    except ConfigError:
        return True
    return False


needs_stamps = [pytest.mark.stamps, pytest.mark.skipif(stamps_missing(), reason=f"no stamps here ({STAMPS_ADVICE})")]
needs_font = [pytest.mark.font, pytest.mark.skipif(font_missing(), reason=f"no {FONT_NAME} on this system ({ADVICE})")]
