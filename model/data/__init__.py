"""Data sources, batches and loaders. Every source gives the same kind of batch (`batch.Batch`).

`source` describes what a source must have and how to add one. A source imports its heavy packages itself, so that a run
with another source does not need them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from model.config.schema import DataConfig
from model.errors import ConfigError

if TYPE_CHECKING:  # it imports torch, which users of `model.data.text` may not need
    from model.data.source import Source, SourceOptions

# Name of the choice in conf/data -> module with `check(config)` and `make(config, options)`.
SOURCES = {
    "scenes": "model.data.scenes",
    "emoji": "model.data.emoji",
    "stamps": "model.data.stamps",
    "coco": "model.data.coco",
    "table": "model.data.table",
    "shards": "model.data.shards",
}


def check_source(config: DataConfig) -> None:
    """Checks that the files and packages of the source exist, without reading any of them. Raises ConfigError."""
    check: Callable[[DataConfig], None] = import_module(SOURCES[config.name]).check
    check(config)


def make_source(config: DataConfig, options: SourceOptions) -> Source:
    """Makes the source that `config` names. Raises ConfigError if it has fewer samples than the configuration needs."""
    source: Source = import_module(SOURCES[config.name]).make(config, options)
    if source.size("train") < config.batch_size:
        raise ConfigError(
            f"data.batch_size={config.batch_size} is more than the number of training samples; "
            f"allowed: {source.size('train')} or less"
        )
    return source
