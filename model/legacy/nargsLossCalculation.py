"""Old names: any number of views, and the figures of the old file. `model.losses` replaces this module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import unwrap
from typing import Any, NoReturn

from torch import Tensor

from model.config.old_flags import LOSSES as VERSIONS
from model.errors import ConfigError
from model.legacy._deprecation import old_name
from model.legacy._figures import james_stein, matrices, one_score, total
from model.legacy._old_file import OldFile, pairwise
from model.legacy._shared_functions import in_module, replacement

# The file added nothing to the lengths of sums before it divided by them; 1e-30 is the smallest eps of a loss.
ANY_NUMBER = OldFile(versions=VERSIONS | {17: "einsum", 18: "einsum"}, row_eps=1e-8, eps=1e-30)
LOSSES = {
    "calculate_loss": "einsum", "calculate_lossNorms": "norms",
    **{f"calculate_loss{k}": f"loss{k}" for k in range(1, 9)},
    **{f"calculate_lossNormsv{k}": f"normsv{k}" for k in range(2, 8)},
}  # fmt: skip


@old_name("sum(views)")
def calc_mean(*vecs: Tensor) -> Tensor:
    """Returns the sum of the views."""
    return total(*vecs)


@old_name("a function of your own given to model.losses.make_loss")
def JSE_mean(*vecs: Tensor) -> Tensor:
    """Returns (1 - 4 / Q) S elementwise, where S is the sum and Q the sum of squares of the views; 0 where Q is 0."""
    return james_stein(*vecs)


def _function(old: str, name: str) -> Callable[..., Tensor]:
    def logits(*vecs: Tensor, mean_fn: Callable[..., Tensor] = calc_mean) -> Tensor:
        return ANY_NUMBER.figure(name, vecs, unwrap(mean_fn))

    logits.__name__ = logits.__qualname__ = old
    logits.__doc__ = (
        f"Views (B, F) with unscaled rows -> the figures of `{name}`, with `mean_fn` for sums over views. For loss1 "
        f"to loss7 the figure is 1 - the score."
    )
    return old_name(replacement(name), __name__)(logits)


globals().update(in_module(__name__) | {old: _function(old, name) for old, name in LOSSES.items()})


@old_name(replacement("stock"))
def calculate_lossStock(vecs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the cosines (B, B) of the first two views, and their transpose."""
    return matrices("stock", vecs)


@old_name(replacement("base"))
def calculate_lossbase(vecs: Sequence[Tensor], norm: bool = True, log: bool = False) -> Tensor:
    """Returns the cosines (B, B) of the first two views. `norm` and `log` change nothing."""
    return one_score("base", vecs)


@old_name("model.losses.make_loss('pairwise').score(views)")
def Fast_loss_Hdim(*vecs: Tensor) -> Tensor:
    """Returns the inner products of every two views, with unscaled rows: (B, B, n^2)."""
    return pairwise(*vecs)


def calcloss(*arguments: Any, **keywords: Any) -> NoReturn:
    """Raises ConfigError, a ValueError, which names the replacement."""
    raise ConfigError(
        f"{__name__}.calcloss has been removed\nuse model.losses.make_loss(name, mask=…, axes=…)(views, logit_scale)"
    )


@old_name("model.losses.numerics.normalise")
def normargs(*args: Tensor) -> tuple[Tensor, ...]:
    """Divides each row by (its length + 1e-8)."""
    return ANY_NUMBER.rows(args)


@old_name("model.losses.make_loss(name, normalize=…).score")
def get_loss_fn(logitsversion: int = 0, norm: bool = False, log: bool = False, JSE: int = 0) -> Callable[..., Tensor]:
    """Returns the function for `logitsversion`, -1 to 18: views (B, F) one by one -> logits.

    norm: whether rows are scaled to length 1 first; versions 7 to 11, 15 and 16 always scale them, 12 never does. `log`
    changes nothing. JSE: whether JSE_mean replaces sums over views. Versions 17 and 18 are version 0, as in the old
    file. Raises ConfigError, a ValueError, for another version.
    """
    return ANY_NUMBER.loss_function(logitsversion, norm, james_stein if JSE else total)


__all__ = [
    "get_loss_fn", "normargs", "calc_mean", "JSE_mean", "calcloss", "Fast_loss_Hdim", "calculate_lossStock",
    "calculate_lossbase",
    *LOSSES, *in_module(__name__),
]  # fmt: skip
