"""Deprecation warnings that name the replacement of an old name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

Result = TypeVar("Result")


@cache
def warn_once(old: str, new: str) -> None:
    """Gives one DeprecationWarning for `old` in a process, at the line that called the caller of this function."""
    warnings.warn(f"{old} is an old name; use {new}", DeprecationWarning, stacklevel=3)


def old_name(new: str, module: str | None = None) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorator: the function also warns, once in a process, that `new` replaces it. The function itself is its
    `__wrapped__`.

    module: the old module that the warning names, where another module defines the function.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def called(*arguments: Any, **keywords: Any) -> Result:
            warn_once(f"{called.__module__}.{called.__qualname__}", new)
            return function(*arguments, **keywords)

        called.__module__ = module or function.__module__
        return called

    return decorate
