"""The loss family: `available()` names it, `make_loss(name, …)` makes one. See docs/losses.md for the formulas.

torch is imported with the first loss, so that a configuration can be checked without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.losses.options import NAMES

if TYPE_CHECKING:
    from model.losses.make import make_loss

__all__ = ["available", "make_loss"]


def available() -> tuple[str, ...]:
    """Every name that `make_loss` and `loss=` take."""
    return NAMES


def __getattr__(name: str) -> object:
    if name != "make_loss":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from model.losses.make import make_loss

    return make_loss
