"""Every name of `loss=`, resolved once into a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model.losses import gram, pair, product
from model.losses.score import Score


@dataclass(frozen=True)
class Entry:
    """How a name becomes a score."""

    make: Callable[[float], Score]  # eps -> score
    reads: int | None = None  # leading views that it reads; None: all


ENTRIES: dict[str, Entry] = {
    "einsum": Entry(lambda eps: product.ProductScore(product.einsum)),
    "norms": Entry(lambda eps: gram.GramScore(gram.norms, eps)),
    "normsv5": Entry(lambda eps: gram.PairScore(gram.normsv5, eps)),
    "stock": Entry(lambda eps: pair.Stock(), reads=2),
}
