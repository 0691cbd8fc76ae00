"""Pictures and captions: one source a file, the same batch out. Heavy packages are imported by the source that needs
them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from model.config.schema import DataConfig
from model.data.source import ForRun, Source
from model.errors import ConfigError

# Name of conf/data -> module with `check(config)` and `make(config, run)`.
SOURCES = {"scenes": "model.data.scenes", "emoji": "model.data.emoji", "coco": "model.data.coco"}


def check_source(config: DataConfig) -> None:
    """Looks whether the source's files and packages are there, without reading any. Raises ConfigError."""
    check: Callable[[DataConfig], None] = import_module(SOURCES[config.name]).check
    check(config)


def make_source(config: DataConfig, run: ForRun) -> Source:
    """The source that `config` names. Raises ConfigError where it has fewer samples than are asked for."""
    source: Source = import_module(SOURCES[config.name]).make(config, run)
    if source.size("train") < config.batch_size:
        allowed = f"{source.size('train')} or less"
        raise ConfigError(
            f"data.batch_size={config.batch_size} is more than the training samples that there are; allowed: {allowed}"
        )
    return source
