"""Returns the loss for a name and its options. The names of the configuration become objects here."""

from __future__ import annotations

import importlib
import pkgutil

from model.errors import ConfigError, one_of
from model.loss_options import LossOptions, check_options, needs_dense
from model.losses import formulas, objective
from model.losses.compiled import native
from model.losses.evaluation.backend import BACKENDS
from model.losses.evaluation.evaluator import CPU_MEMORY_MIB, LineEvaluator
from model.losses.evaluation.scratch import Scratch
from model.losses.formulas.elementwise import FeatureScore
from model.losses.formulas.matrices import MatrixScore
from model.losses.formulas.own import DenseFunction, own_formula
from model.losses.objective.loss import ContrastiveLoss, DenseLoss, MatrixLoss, SigmoidLoss, TupleLoss
from model.losses.objective.masks import ExtremesMask, LearnedMask, Mask, RawMask
from model.losses.objective.reduction import mean_of_axes, second_and_mean
from model.losses.objective.targets import DiagonalTargets, SoftTargets
from model.losses.registry import FORMULAS, CommonKeywords, missing_formula
from model.losses.score import Score

AXES = {"all": mean_of_axes, "first": second_and_mean}
MASKS = {
    "none": lambda views, batch_size: Mask(),
    "learned": LearnedMask,
    "extremes": lambda views, batch_size: ExtremesMask(),
    "raw": lambda views, batch_size: RawMask(),
    "sigmoid": lambda views, batch_size: Mask(),
}


def import_formulas() -> None:
    """Imports every module of formulas/ and objective/, which registers their formulas."""
    for package in (formulas, objective):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


import_formulas()


def available() -> tuple[str, ...]:
    """Returns every name that `make_loss` and `loss=` accept, in alphabetical order."""
    return tuple(sorted(FORMULAS))


def check_formula(name: str, family: str) -> None:
    """Raises ConfigError for a name of conf/loss that has no formula yet; the error says where to write it."""
    if name not in FORMULAS:
        raise ConfigError(missing_formula(name, family))


def make_loss(
    name: str | DenseFunction,
    *,
    normalize: bool = True,
    eps: float = 1e-8,
    targets: str = "diagonal",
    mask: str = "none",
    axes: str = "all",
    reduction: str = "mean",
    evaluation: str = "auto",
    backend: str = "auto",
    memory_mib: int | None = None,
    views: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> ContrastiveLoss:
    """Returns the loss `name` as a module: ``loss(views, logit_scale)``, ``loss.score(views)``, ``loss.lines(views)``.

    `name` is one of `available()`, or a function of n tensors (B_k, F) that returns the scores (B_1, …, B_n) of all
    tuples. The other keywords are the keys of ``loss.*`` (conf/loss/_keys.yaml); `views` and `batch_size` are the
    numbers of views and rows to expect, and `seed` is that of soft targets and random tuples. Raises ConfigError, a
    ValueError, for an unknown value and for a combination without meaning; the loss of a function raises ValueError
    for a result of another shape, dtype or device, and for scores that depend on other rows than the tuple's own.
    """
    if isinstance(name, str):
        one_of("loss", name, available())
    formula = FORMULAS[name] if isinstance(name, str) else own_formula(name)
    options = LossOptions(normalize, eps, targets, mask, axes, reduction, evaluation, backend, memory_mib)
    check_options(formula.name, formula.family, options, views=views, batch_size=batch_size)
    score = formula.score(eps)
    evaluator = evaluator_of(score, options)
    in_eager_tiles = isinstance(score, FeatureScore) and backend == "auto" and native.compiler() is None
    notices = notices_of(formula.name, formula.reads, views, mask, in_eager_tiles)
    common = CommonKeywords(name=formula.name, mean=reduction == "mean", reads=formula.reads, notices=notices)
    if formula.objective is not None:
        return formula.objective(evaluator, seed, common)
    if isinstance(score, MatrixScore):
        return MatrixLoss(evaluator, **common)
    return tuple_loss(evaluator, options, common, views, batch_size, seed)


def evaluator_of(score: Score, options: LossOptions) -> LineEvaluator:
    """Returns the evaluator of a score with the options of a loss."""
    scratch = Scratch((options.memory_mib or CPU_MEMORY_MIB) << 20)
    backend = BACKENDS[options.backend]
    return LineEvaluator(score, options.normalize, options.eps, scratch, backend, options.memory_mib)


def tuple_loss(
    evaluator: LineEvaluator,
    options: LossOptions,
    common: CommonKeywords,
    views: int | None,
    batch_size: int | None,
    seed: int,
) -> TupleLoss:
    """Returns the loss of a score that is defined for every tuple; the parameters are those of `make_loss`."""
    axes, mask = AXES[options.axes], MASKS[options.mask](views, batch_size)
    if options.evaluation != "dense" and not needs_dense(options.targets, options.mask):
        return TupleLoss(evaluator, axes=axes, mask=mask, **common)
    targets = SoftTargets(seed, batch_size) if options.targets == "soft" else DiagonalTargets()
    loss_class = SigmoidLoss if options.mask == "sigmoid" else DenseLoss
    return loss_class(evaluator, axes=axes, mask=mask, targets=targets, **common)


def notices_of(name: str, reads: int | None, views: int | None, mask: str, in_eager_tiles: bool) -> tuple[str, ...]:
    """Returns sentences that a run prints at its start: about views that are not computed, a scale that is not trained,
    and loops that are not compiled.
    """
    notices = []
    if reads is not None and views is not None and views > reads:
        notices.append(f"loss={name} reads the first {reads} of {views} views; the others are not computed")
    if mask == "sigmoid":
        notices.append("loss.mask=sigmoid scales its logits to [-1, 1]: logit_scale cancels and is not trained")
    if in_eager_tiles:
        notices.append(f"{native.NO_COMPILER}: on a CPU loss={name} runs in eager tiles, several times slower")
    return tuple(notices)
