"""The options of a loss: the values that `loss.*` accepts, and the combinations that are refused.

Imports no torch, because the configuration is checked before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import at_least, one_of, positive, require, within

# Families that are contrasted in one way only: pairs of views by direction, and anchors with random tuples. The scores
# of all other families are contrasted along lines or over all tuples.
MATRIX, SAMPLED = "matrix", "sampled"
# The family of a user's function.
OWN = "own"
# Scores of tuples with a clamp that is meant for rows of length 1.
NORMALISED_ONLY = ("stable_einsum", "stable_norm")
CHOICES = {
    "targets": ("diagonal", "soft"),
    "mask": ("none", "learned", "extremes", "raw", "sigmoid"),
    "axes": ("all", "first"),
    "reduction": ("mean", "sum"),
    "evaluation": ("auto", "lines", "dense"),
    "scale_init": ("original", "auto"),
    "backend": ("auto", "eager", "compiled", "inductor"),
}
# The choices that MATRIX and SAMPLED losses have.
LINES_ONLY = {"targets": ("diagonal",), "mask": ("none",), "axes": ("all",), "evaluation": ("auto", "lines")}
# Above this number of views two classes of a mask can have the same value.
MASKED_VIEWS = 12
# The largest number of tuples of a dense evaluation: 16 GiB of float64.
DENSE_CELLS = 2**31
# A smaller eps has no effect; a larger eps is longer than a normalised row.
EPS = (1e-30, 1.0)
# The largest scratch memory in MiB: one TiB.
MEMORY_MIB = 1 << 20


@dataclass(frozen=True)
class LossOptions:
    """The keys of conf/loss that every loss reads; conf/loss/_keys.yaml describes them."""

    normalize: bool
    eps: float
    targets: str
    mask: str
    axes: str
    reduction: str
    evaluation: str
    backend: str
    memory_mib: int | None


def check_options(
    name: str, family: str, options: LossOptions, *, views: int | None = None, batch_size: int | None = None
) -> None:
    """Raises ConfigError for the first option that is unknown, out of range, or without effect on the loss `name`.

    `views` and `batch_size`: the number of views and of rows that the loss will get; None where it is not known.
    """
    for key in ("targets", "mask", "axes", "reduction", "evaluation", "backend"):
        one_of(f"loss.{key}", getattr(options, key), CHOICES[key])
    positive("loss.eps", options.eps)
    in_range = EPS[0] <= options.eps <= EPS[1]
    require(in_range, "loss.eps", options.eps, "is out of range", f"{EPS[0]} to {EPS[1]}, far below a row's length")
    if options.memory_mib is not None:
        within("loss.memory_mib", options.memory_mib, 1, MEMORY_MIB)
    if views is not None:
        at_least("views", views, 2)
    if family == MATRIX or name in NORMALISED_ONLY:
        problem = f"means nothing with loss={name}, which always normalises"
        require(options.normalize, "loss.normalize", options.normalize, problem, "true")
    if family == MATRIX:
        _check_lines_only(options, f"means nothing with loss={name}, whose scores are (B, B) per direction")
    if family == SAMPLED:
        _check_lines_only(options, f"means nothing with loss={name}, whose other candidates are random tuples")
    _check_mask(options, views, batch_size)
    _check_dense(options, views, batch_size)


def check_scale_init(scale_init: str, mask: str) -> None:
    """Raises ConfigError for an unknown start of logit_scale, and for one that has no effect."""
    one_of("loss.scale_init", scale_init, CHOICES["scale_init"])
    problem = "means nothing with loss.mask=sigmoid, where the multiplier cancels"
    require(mask != "sigmoid" or scale_init == "original", "loss.scale_init", scale_init, problem, "original")


def needs_dense(targets: str, mask: str) -> bool:
    """Returns whether tuples off the lines contribute to the loss, so that lines alone would not be exact."""
    return targets == "soft" or mask == "sigmoid"


def largest_dense_batch(views: int) -> int:
    """Returns the largest number of rows whose tuples a dense evaluation can hold."""
    return int(DENSE_CELLS ** (1 / views) + 1e-9)


def _check_lines_only(options: LossOptions, problem: str) -> None:
    for key, allowed in LINES_ONLY.items():
        value = getattr(options, key)
        require(value in allowed, f"loss.{key}", value, problem, ", ".join(allowed))


def _check_mask(options: LossOptions, views: int | None, batch_size: int | None) -> None:
    mask, axes, reduction = options.mask, options.axes, options.reduction
    if mask == "sigmoid":
        require(axes == "all", "loss.axes", axes, "means nothing with loss.mask=sigmoid, which has no softmax", "all")
    if mask == "raw":
        problem = "means nothing with loss.mask=raw, which has its own mean"
        require(reduction == "mean", "loss.reduction", reduction, problem, "mean")
    if mask == "learned":
        for key, value in (("views", views), ("batch_size", batch_size)):
            problem = "is not enough for loss.mask=learned, whose classes depend on it"
            require(value is not None, key, value, problem, "a number")
    if mask in ("learned", "extremes") and views is not None:
        problem = f"is too many for loss.mask={mask}, whose classes would share values"
        require(views <= MASKED_VIEWS, "views", views, problem, f"2 to {MASKED_VIEWS}")


def _check_dense(options: LossOptions, views: int | None, batch_size: int | None) -> None:
    targets, mask, evaluation = options.targets, options.mask, options.evaluation
    key, value = ("targets", targets) if targets == "soft" else ("mask", mask)
    dense = needs_dense(targets, mask)
    if dense:
        problem = f"is not exact for loss.{key}={value}, which weighs tuples off the lines"
        require(evaluation != "lines", "loss.evaluation", evaluation, problem, "auto, dense")
    if views is not None and batch_size is not None and (dense or evaluation == "dense"):
        problem = f"with loss.{key}={value}, loss.evaluation={evaluation} needs {batch_size}^{views} tuples"
        allowed = f"{largest_dense_batch(views)} or less"
        require(batch_size**views <= DENSE_CELLS, "data.batch_size", batch_size, problem, allowed)
