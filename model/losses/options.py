"""The values that `loss.*` may take, and the combinations that mean nothing. Imports no torch: the configuration reads
it.
"""

from __future__ import annotations

from model.errors import at_least, one_of, positive, require, within

# Scores of one row of every view.
TUPLES = (
    *(
        "einsum",
        "loss1",
        "loss2",
        "loss3",
        "loss4",
        "loss5",
        "loss6",
        "loss7",
        "loss8",
        "norms",
        "normsv2",
        "normsv3",
        "normsv4",
    ),
    *("normsv5", "normsv6", "normsv7", "normsv8", "normsv9", "stable_einsum", "stable_norm", "gram"),
)
# Scores (B, B) per direction.
PAIRS = ("stock", "base", "normsvc", "pairwise", "stable_cosine", "stable_distance", "pairwise_clip", "siglip")
# Scores of random tuples.
SAMPLED = ("symile",)
NAMES = TUPLES + PAIRS + SAMPLED
CHOICES = {
    "targets": ("diagonal", "soft"),
    "mask": ("none", "learned", "extremes", "raw", "sigmoid"),
    "axes": ("all", "first"),
    "reduction": ("mean", "sum"),
    "evaluation": ("auto", "lines", "dense"),
    "scale_init": ("original", "auto"),
    "backend": ("auto", "eager", "compiled"),
}
# Above this many views two classes of a mask can have the same value.
MASKED_VIEWS = 12
# Tuples that a dense evaluation holds at most: 16 GiB of float64.
DENSE_CELLS = 2**31
# A smaller eps guards nothing, a larger one is longer than a row.
EPS = (1e-30, 1.0)
# MiB of scratch memory at most: a tebibyte.
MEMORY_MIB = 1 << 20


def check_options(
    name: str,
    *,
    views: int | None = None,
    batch_size: int | None = None,
    normalize: bool = True,
    eps: float = 1e-8,
    memory_mib: int = 200,
    **choices: str,
) -> None:
    """Raises ConfigError for the first value that is not known, out of range, or means nothing beside the others.

    `choices`: targets, mask, axes, reduction, evaluation, scale_init, each with the default of conf/loss/_keys.yaml.
    `views` and `batch_size`: what the run will feed, where that is known.
    """
    one_of("loss", name, NAMES)
    chosen = {
        "targets": "diagonal",
        "mask": "none",
        "axes": "all",
        "reduction": "mean",
        "evaluation": "auto",
        "scale_init": "original",
        "backend": "auto",
    } | choices
    for key, value in chosen.items():
        one_of(f"loss.{key}", value, CHOICES[key])
    positive("loss.eps", eps)
    require(
        EPS[0] <= eps <= EPS[1],
        "loss.eps",
        eps,
        "is out of range",
        f"{EPS[0]} to {EPS[1]}, a small part of a row's length",
    )
    within("loss.memory_mib", memory_mib, 1, MEMORY_MIB)
    if views is not None:
        at_least("views", views, 2)
    if name.startswith("stable_") or name in PAIRS:
        require(
            normalize, "loss.normalize", normalize, f"means nothing with loss={name}, which always normalises", "true"
        )
    if name in PAIRS:
        _check_fixed(chosen, f"means nothing with loss={name}, whose scores are (B, B) per direction")
    if name in SAMPLED:
        _check_fixed(chosen, f"means nothing with loss={name}, whose other candidates are random tuples")
    _check_mask(chosen, views, batch_size)
    _check_dense(chosen, views, batch_size)


def needs_dense(targets: str, mask: str) -> bool:
    """Whether tuples off the lines take part, so that lines would not be exact."""
    return targets == "soft" or mask == "sigmoid"


def _check_fixed(chosen: dict[str, str], problem: str) -> None:
    """Without a score for every tuple there is none to mask, no axis to choose, and nothing off the lines."""
    for key, only in (
        ("targets", ["diagonal"]),
        ("mask", ["none"]),
        ("axes", ["all"]),
        ("evaluation", ["auto", "lines"]),
    ):
        require(chosen[key] in only, f"loss.{key}", chosen[key], problem, ", ".join(only))


def _check_mask(chosen: dict[str, str], views: int | None, batch_size: int | None) -> None:
    mask, axes, reduction = chosen["mask"], chosen["axes"], chosen["reduction"]
    if mask == "sigmoid":
        require(axes == "all", "loss.axes", axes, "means nothing with loss.mask=sigmoid, which has no softmax", "all")
        require(
            chosen["scale_init"] == "original",
            "loss.scale_init",
            "auto",
            "means nothing with loss.mask=sigmoid, where it cancels",
            "original",
        )
    if mask == "raw":
        require(
            reduction == "mean",
            "loss.reduction",
            reduction,
            "means nothing with loss.mask=raw, which has its own mean",
            "mean",
        )
    if mask == "learned":
        for key, value in (("views", views), ("batch_size", batch_size)):
            require(
                value is not None,
                key,
                value,
                "is not enough for loss.mask=learned, whose classes depend on it",
                "a number",
            )
    if mask in ("learned", "extremes") and views is not None:
        require(
            views <= MASKED_VIEWS,
            "views",
            views,
            f"is too many for loss.mask={mask}, whose classes would share values",
            f"2 to {MASKED_VIEWS}",
        )


def _check_dense(chosen: dict[str, str], views: int | None, batch_size: int | None) -> None:
    targets, mask, evaluation = chosen["targets"], chosen["mask"], chosen["evaluation"]
    key, value = ("targets", targets) if targets == "soft" else ("mask", mask)
    dense = needs_dense(targets, mask)
    if dense:
        problem = f"is not exact for loss.{key}={value}, which weighs tuples off the lines"
        require(evaluation != "lines", "loss.evaluation", evaluation, problem, "auto, dense")
    if views is not None and batch_size is not None and (dense or evaluation == "dense"):
        problem = f"with loss.{key}={value}, loss.evaluation={evaluation} needs {batch_size}^{views} tuples"
        require(
            batch_size**views <= DENSE_CELLS,
            "data.batch_size",
            batch_size,
            problem,
            f"{int(DENSE_CELLS ** (1 / views) + 1e-9)} or less",
        )
