"""How a collection that has an end is shared out to splits."""

from __future__ import annotations

from model.errors import ConfigError


def parted(count: int, sizes: dict[str, int | None], what: str) -> dict[str, range]:
    """Split -> positions of `count` things: the first are val's, then test's, then train's (None: all that are left).

    Raises ConfigError, naming the key and what there is, where `sizes` ask for more.
    """
    val, test = sizes["val"], sizes["test"]
    limited("data.val_size", val, count - 2, what)
    limited("data.test_size", test, count - val - 1, what)
    left = count - val - test
    train = left if sizes["train"] is None else sizes["train"]
    limited("data.train_size", train, left, what)
    return {"val": range(val), "test": range(val, val + test), "train": range(val + test, val + test + train)}


def limited(key: str, size: int, available: int, what: str, reasons: str = "") -> None:
    """Raises ConfigError where `size` is more than there is; `reasons`: why there is not more, added to the message.
    Where nothing is available, the message says that no value of `key` is possible.
    """
    if size > available:
        allowed = f"up to {available} {what}" if available > 0 else f"more {what}, as there are too few for any value"
        raise ConfigError(f"{key}={size} is more than there are; allowed: {allowed}{reasons}")
