"""Every name of `loss=`, resolved once into a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.formulas import elementwise, gram, gram_pairs, matrices, product
from model.losses.formulas.elementwise import FeatureScore
from model.losses.formulas.feature_sums import (
    MAGNITUDE,
    POWER,
    ROOT_LESS_TOTAL,
    ROOT_SPREAD,
    ROOT_SQUARE,
    SQUARED_SPREAD,
    TOTAL,
)
from model.losses.formulas.gram import GramScore
from model.losses.formulas.gram_pairs import AllPairsGramScore
from model.losses.formulas.product import ProductScore
from model.losses.formulas.volume import VolumeScore
from model.losses.objective.loss import ContrastiveLoss
from model.losses.objective.siglip import SiglipLoss
from model.losses.objective.symile import RandomTupleScore, SymileLoss
from model.losses.score import Score


@dataclass(frozen=True)
class Entry:
    """How a name becomes a score."""

    make: Callable[[float], Score]  # eps -> score
    reads: int | None = None  # leading views that it reads; None: all
    # (evaluator, seed, keywords of ContrastiveLoss) -> the loss, where it is more than a score.
    loss: Callable[[LineEvaluator, int, dict], ContrastiveLoss] | None = None


ENTRIES: dict[str, Entry] = {
    "einsum": Entry(lambda eps: ProductScore(product.einsum)),
    "loss1": Entry(lambda eps: FeatureScore(elementwise.loss1, [ROOT_SPREAD])),
    "loss2": Entry(lambda eps: FeatureScore(elementwise.loss2, [ROOT_SPREAD])),
    "loss3": Entry(lambda eps: FeatureScore(elementwise.loss3, [SQUARED_SPREAD])),
    "loss4": Entry(lambda eps: FeatureScore(elementwise.loss4, [ROOT_SQUARE])),
    "loss5": Entry(lambda eps: GramScore(gram.loss5, eps)),
    "loss6": Entry(lambda eps: GramScore(gram.loss6, eps)),
    "loss7": Entry(lambda eps: GramScore(gram.loss7, eps)),
    "loss8": Entry(lambda eps: GramScore(gram.loss8, eps)),
    "norms": Entry(lambda eps: GramScore(gram.norms, eps)),
    "normsv2": Entry(lambda eps: GramScore(gram.normsv2, eps)),
    "normsv3": Entry(lambda eps: GramScore(gram.normsv3, eps)),
    "normsv4": Entry(lambda eps: GramScore(gram.normsv4, eps)),
    "normsv5": Entry(lambda eps: AllPairsGramScore(gram_pairs.normsv5, eps)),
    "normsv6": Entry(lambda eps: FeatureScore(elementwise.normsv6, [ROOT_SQUARE], [MAGNITUDE])),
    "normsv7": Entry(lambda eps: FeatureScore(elementwise.normsv7, [ROOT_SQUARE], [MAGNITUDE])),
    "normsv8": Entry(lambda eps: FeatureScore(elementwise.normsv8, [POWER], [TOTAL])),
    "normsv9": Entry(lambda eps: FeatureScore(elementwise.normsv9, [ROOT_LESS_TOTAL], [MAGNITUDE])),
    "stock": Entry(lambda eps: matrices.Stock(), reads=2),
    "base": Entry(lambda eps: matrices.Base(), reads=2),
    "normsvc": Entry(lambda eps: matrices.FirstAndRest()),
    "pairwise": Entry(lambda eps: matrices.AllPairs()),
    "stable_einsum": Entry(lambda eps: ProductScore(product.stable_einsum)),
    "stable_norm": Entry(lambda eps: AllPairsGramScore(gram_pairs.stable_norm, eps)),
    "stable_cosine": Entry(lambda eps: matrices.CosineToMean(eps)),
    "stable_distance": Entry(lambda eps: matrices.DistanceToMean(eps)),
    "gram": Entry(lambda eps: VolumeScore()),
    "pairwise_clip": Entry(lambda eps: matrices.DistinctPairs()),
    "siglip": Entry(
        lambda eps: matrices.Stock(), reads=2, loss=lambda evaluator, seed, shared: SiglipLoss(evaluator, **shared)
    ),
    "symile": Entry(
        lambda eps: RandomTupleScore(), loss=lambda evaluator, seed, shared: SymileLoss(evaluator, seed=seed, **shared)
    ),
}
