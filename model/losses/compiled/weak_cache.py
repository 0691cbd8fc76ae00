"""A cache whose entries are deleted together with the object that they were made for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary


def cached_with_owner(make: Callable[..., Any]) -> Callable[..., Any]:
    """Caches the results of `make` as functools.cache does, but holds the first argument weakly: its results are
    deleted together with it.
    """
    made: WeakKeyDictionary[Any, dict[tuple, Any]] = WeakKeyDictionary()

    @wraps(make)
    def cached(owner: Any, *arguments: Any) -> Any:
        own = made.setdefault(owner, {})
        if arguments not in own:
            own[arguments] = make(owner, *arguments)
        return own[arguments]

    cached.cache_clear = made.clear
    return cached
