"""Old name of the pruning of weights while training, which nothing replaces: see docs/migration.md."""

from __future__ import annotations

from typing import Any, NoReturn

from model.errors import ConfigError


class PruneHook:
    """Is not made any more."""

    def __init__(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError("PruneHook has no replacement, as no weights are pruned today; allowed: to train without it, see docs/migration.md")
