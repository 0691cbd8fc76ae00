"""Old names: `model.losses` replaces this module."""

from __future__ import annotations

from collections.abc import Callable

from model.legacy.calls import FUNCTIONS, Logits, old_function, old_version

globals().update({old: old_function(__name__, old, name) for old, name in FUNCTIONS.items()})
__all__ = ["get_loss_fn", *FUNCTIONS]


def get_loss_fn(logitsversion: int, norm: bool = False) -> Callable[..., Logits]:
    """The function of `logitsversion` (-1 to 18): views (B, F) one by one -> logits. norm: scale rows to length 1 first."""
    return old_version(__name__, logitsversion, norm)
