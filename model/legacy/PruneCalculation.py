"""Old name of the hook that pruned weights during training. It has no replacement, see docs/migration.md."""

from __future__ import annotations

from typing import Any, NoReturn

from model.errors import ConfigError


class PruneHook:
    """Cannot be constructed."""

    def __init__(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(
            "PruneHook has no replacement, because no weights are pruned today; allowed: training without it, see "
            "docs/migration.md"
        )
