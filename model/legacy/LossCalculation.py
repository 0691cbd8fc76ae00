"""Old names: six views by position, and the figures of the old file. `model.losses` replaces this module."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from model.config.old_flags import LOSSES as VERSIONS
from model.legacy._deprecation import old_name
from model.legacy._figures import matrices, one_score
from model.legacy._old_file import OldFile
from model.legacy._shared_functions import in_module, replacement

SIX = OldFile(
    versions=VERSIONS | {-1: "einsum"},
    row_eps=0.0,
    eps=1e-8,
    with_axis=("normsv3",),
    averaged=("normsv7",),
)
LOSSES = {
    "calculate_loss": "einsum", "calculate_lossNorms": "norms",
    **{f"calculate_loss{k}": f"loss{k}" for k in range(1, 9)},
    **{f"calculate_lossNormsv{k}": f"normsv{k}" for k in range(2, 10)},
}  # fmt: skip


def _function(old: str, name: str) -> Callable[..., Tensor]:
    def logits(I: Tensor, C1: Tensor, C2: Tensor, C3: Tensor, C4: Tensor, C5: Tensor) -> Tensor:
        return SIX.figure(name, (I, C1, C2, C3, C4, C5))

    logits.__name__ = logits.__qualname__ = old
    logits.__doc__ = (
        f"Six views (B, F) with unscaled rows -> the figures of `{name}`. For loss1 to loss7 the figure is 1 - the "
        f"score; for loss8 it has an axis of features."
    )
    return old_name(replacement(name), __name__)(logits)


globals().update(in_module(__name__) | {old: _function(old, name) for old, name in LOSSES.items()})


@old_name(replacement("normsvc"))
def calculate_lossNormsvc(
    I: Tensor, C1: Tensor, C2: Tensor, C3: Tensor, C4: Tensor, C5: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns two (B, B) matrices of cosines: of the first view with the others, and of the others with the rest."""
    return matrices("normsvc", (I, C1, C2, C3, C4, C5))


@old_name(replacement("stock"))
def calculate_lossStock(I: Tensor, C1: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the cosines (B, B) of two views, and their transpose."""
    return matrices("stock", (I, C1))


@old_name(replacement("base"))
def calculate_lossbase(
    I: Tensor, C1: Tensor, C2: Tensor, C3: Tensor, C4: Tensor, C5: Tensor, norm: bool = True,
    log: bool = False
) -> Tensor:  # fmt: skip
    """Returns the cosines (B, B) of the first two views. `norm` and `log` change nothing."""
    return one_score("base", (I, C1))


@old_name("model.losses.numerics.normalise")
def normargs(*args: Tensor) -> tuple[Tensor, ...]:
    """Divides each row by its length; a zero row stays zero."""
    return SIX.rows(args)


@old_name("model.losses.make_loss(name, normalize=…).score")
def get_loss_fn(logitsversion: int = 0, norm: bool = False, log: bool = False) -> Callable[..., Tensor]:
    """Returns the function for `logitsversion`, -1 to 18: views (B, F) one by one -> logits.

    norm: whether rows are scaled to length 1 first; versions 7 to 11 and 15 to 17 always scale them, 12 and 18 never
    do. `log` changes nothing. Raises ConfigError, a ValueError, for another version.
    """
    return SIX.loss_function(logitsversion, norm)


__all__ = [
    "get_loss_fn",
    "normargs",
    "calculate_lossNormsvc",
    "calculate_lossStock",
    "calculate_lossbase",
    *LOSSES,
    *in_module(__name__),
]
