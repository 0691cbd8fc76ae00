"""Checks the ranges of the values of conf/data. Every function raises ConfigError or returns None."""

from __future__ import annotations

from model.config.schema import DataConfig, EmojiConfig
from model.errors import at_least, require, within

# Upper bounds that no run needs. A larger value is a typing mistake that would fill the memory or start far too many
# processes.
LARGEST = {
    "num_workers": 512,
    "batch_size": 1 << 20,
    "train_size": 10**9,
    "val_size": 10**9,
    "test_size": 10**9,
    "vocab_size": 1 << 20,
}
# The number of captions that the source writes for each picture.
CAPTIONS_OF_SCENES = 5


def check_data(data: DataConfig) -> None:
    """Raises ConfigError for sizes out of range, and for more captions than the source can have. A contrast needs at
    least two samples.
    """
    check_captions(data)
    for key, least in (("batch_size", 2), ("num_workers", 0), ("val_size", 2), ("test_size", 2), ("vocab_size", 300)):
        within(f"data.{key}", getattr(data, key), least, LARGEST[key])
    if data.train_size is not None:
        within("data.train_size", data.train_size, 2, LARGEST["train_size"])
        require(
            data.train_size >= data.batch_size,
            "data.train_size",
            data.train_size,
            "is smaller than a batch",
            f"data.batch_size={data.batch_size} or more",
        )


def check_captions(data: DataConfig) -> None:
    """Raises ConfigError for a number of captions that the source cannot have. The number has no limit where files
    contain the captions: the source finds out how many they have.
    """
    limit = len(data.languages) if isinstance(data, EmojiConfig) else CAPTIONS_OF_SCENES
    if isinstance(data, EmojiConfig) or data.name == "scenes":
        problem = f"is not a number of captions of data={data.name}"
        require(1 <= data.captions <= limit, "data.captions", data.captions, problem, f"1 to {limit}")
    at_least("data.captions", data.captions, 1)
