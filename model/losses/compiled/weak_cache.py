"""A cache of results by object that does not keep the objects alive."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Key = TypeVar("Key")
Rest = ParamSpec("Rest")
Result = TypeVar("Result")


def cached_by_object(function: Callable[Concatenate[Key, Rest], Result]) -> Callable[Concatenate[Key, Rest], Result]:
    """Returns `function` with a cache, as functools.cache does, that refers to the first argument weakly: when that
    object is deleted, its results are deleted too. The other arguments are positional.
    """
    results: WeakKeyDictionary[Any, dict[Hashable, Result]] = WeakKeyDictionary()

    @wraps(function)
    def cached(key: Key, *rest: Rest.args, **named: Rest.kwargs) -> Result:
        own = results.setdefault(key, {})
        if rest not in own:
            own[rest] = function(key, *rest, **named)
        return own[rest]

    return cached
