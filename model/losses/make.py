"""From a name and options to a loss. Strings end here."""

from __future__ import annotations

from model.losses.compiled import native
from model.losses.evaluation.backend import BACKENDS
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.scratch import Scratch
from model.losses.formulas.elementwise import FeatureScore
from model.losses.formulas.own import DenseFunction, DenseOnlyScore
from model.losses.objective.loss import ContrastiveLoss, DenseLoss, MatrixLoss, SigmoidLoss, TupleLoss
from model.losses.objective.masks import ExtremesMask, LearnedMask, Mask, RawMask
from model.losses.objective.reduction import mean_of_axes, second_and_mean
from model.losses.objective.targets import DiagonalTargets, SoftTargets
from model.losses.options import check_options, needs_dense
from model.losses.registry import ENTRIES, Entry
from model.losses.score import TupleScore

AXES = {"all": mean_of_axes, "first": second_and_mean}
MASKS = {
    "none": lambda views, batch_size: Mask(),
    "learned": LearnedMask,
    "extremes": lambda views, batch_size: ExtremesMask(),
    "raw": lambda views, batch_size: RawMask(),
    "sigmoid": lambda views, batch_size: Mask(),
}


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
    memory_mib: int = 200,
    views: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> ContrastiveLoss:
    """The loss `name` as a module: ``loss(views, logit_scale)``, ``loss.score(views)``, ``loss.lines(views)``.

    The keywords are the keys of ``loss.*`` (conf/loss/_keys.yaml); `views` and `batch_size` are the number of views and
    of rows to expect, `seed` that of soft targets. Raises ConfigError, a ValueError, for a value that is not known and
    for combinations that mean nothing.

    In place of a name: a function of n tensors (B_k, F) that returns the scores of all tuples, (B_1, …, B_n), each a
    function of the tuple's own rows. It trains along lines like the others, a row at a time. What it returns is
    checked: the loss raises ValueError for another shape, a dtype that is not floating, another device, views changed
    in place, and scores that depend on other rows.
    """
    known = "einsum" if callable(name) else name  # a function takes the options that a score of tuples takes
    check_options(
        known, views=views, batch_size=batch_size, normalize=normalize, eps=eps, memory_mib=memory_mib,
        targets=targets, mask=mask, axes=axes, reduction=reduction, evaluation=evaluation, backend=backend,
    )  # fmt: skip
    entry = Entry(lambda eps: DenseOnlyScore(name)) if callable(name) else ENTRIES[name]
    score, name = entry.make(eps), getattr(name, "__name__", name)
    evaluator = LineEvaluator(score, normalize, eps, Scratch(memory_mib << 20), BACKENDS[backend])
    notices = notices_of(name, entry.reads, views, mask, isinstance(score, FeatureScore) and backend == "auto")
    shared = {"mean": reduction == "mean", "reads": entry.reads, "name": name, "notices": notices}
    if entry.loss is not None:
        return entry.loss(evaluator, seed, shared)
    if not isinstance(score, TupleScore):
        return MatrixLoss(evaluator, **shared)
    shared |= {"axes": AXES[axes], "mask": MASKS[mask](views, batch_size)}
    if evaluation != "dense" and not needs_dense(targets, mask):
        return TupleLoss(evaluator, **shared)
    dense = SigmoidLoss if mask == "sigmoid" else DenseLoss
    return dense(evaluator, **shared, targets=SoftTargets(seed, batch_size) if targets == "soft" else DiagonalTargets())


def notices_of(name: str, reads: int | None, views: int | None, mask: str, elementwise: bool) -> tuple[str, ...]:
    """What a run should say once: views that are not computed, a scale that is not trained, loops that are not
    compiled.
    """
    notices = []
    if reads is not None and views is not None and views > reads:
        notices.append(f"loss={name} reads the first {reads} of {views} views; the others are not computed")
    if mask == "sigmoid":
        notices.append("loss.mask=sigmoid scales its logits to [-1, 1]: logit_scale cancels and is not trained")
    if elementwise and native.compiler() is None:
        notices.append(f"{native.NO_COMPILER}: on a CPU loss={name} runs in eager tiles, several times slower")
    return tuple(notices)
