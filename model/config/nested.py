"""Nested dictionaries, the plain form of a configuration or a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the nested dictionary as one dictionary: dotted key -> value."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return result


def value_at(values: Any, path: Sequence[str], default: Any = None) -> Any:
    """Returns the value at a path of keys in nested dictionaries; `default` if a key is missing."""
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return default
        values = values[key]
    return values
