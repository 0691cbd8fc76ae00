"""What the old loss functions have in common: they take the views one by one and return logits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

from torch import Tensor

from model.errors import one_of
from model.losses import make_loss

Logits = Tensor | tuple[Tensor, ...]
# get_loss_fn's logitsversion -> loss, whether its rows were normalised when asked to.
VERSIONS = {
    -1: "pairwise",
    0: "einsum",
    1: "loss2",
    2: "loss3",
    3: "loss4",
    4: "loss5",
    5: "loss6",
    6: "loss1",
    7: "norms",
    8: "normsv2",
    9: "normsv3",
    10: "normsv4",
    11: "normsv5",
    12: "normsv5",
    13: "loss7",
    14: "loss8",
    15: "normsv6",
    16: "normsv7",
    17: "normsv8",
    18: "normsv9",
}
# The version whose rows were never normalised.
AS_THEY_COME = 12
FUNCTIONS = {
    "calculate_loss": "einsum",
    "calculate_lossNorms": "norms",
    "calculate_lossStock": "stock",
    "calculate_lossbase": "base",
    **{f"calculate_loss{k}": f"loss{k}" for k in range(1, 9)},
    **{f"calculate_lossNormsv{k}": f"normsv{k}" for k in (*range(2, 10), "c")},
}


@cache
def warn_once(old: str, new: str) -> None:
    """One DeprecationWarning for `old` in a process."""
    warnings.warn(f"{old} is an old name; use {new}", DeprecationWarning, stacklevel=4)


def old_function(module: str, old: str, name: str) -> Callable[..., Logits]:
    """The function `old` of the old `module`: calculate_…(view, view, …, norm=True) -> logits of the loss `name`."""

    def logits(*views: Tensor, norm: bool = True) -> Logits:
        warn_once(f"{module}.{old}", f"model.losses.make_loss({name!r}).score")
        return make_loss(name, normalize=norm).score(views)

    logits.__name__ = logits.__qualname__ = old
    logits.__doc__ = f"Logits of n views (B, F), unscaled: make_loss({name!r}, normalize=norm).score(views)."
    return logits


def old_version(module: str, logitsversion: int, norm: bool) -> Callable[..., Logits]:
    """The function that the old `module` chose by number. Raises ValueError for a number it did not have."""
    one_of("logitsversion", logitsversion, tuple(VERSIONS))
    name = VERSIONS[logitsversion]
    normalize = name == "pairwise" or (norm and logitsversion != AS_THEY_COME)
    warn_once(f"{module}.get_loss_fn", f"model.losses.make_loss({name!r}, normalize={normalize}).score")
    return lambda *views: make_loss(name, normalize=normalize).score(views)
