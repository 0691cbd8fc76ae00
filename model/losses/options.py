"""The values that `loss.*` may take, and the combinations that mean nothing. Imports no torch: the configuration reads it."""

from __future__ import annotations

from model.errors import at_least, one_of, positive, require

NAMES = ("einsum", "norms", "normsv5", "stock")
PAIR = ("stock",)
TARGETS = ("diagonal",)
MASKS = ("none",)
AXES = ("all", "first")
REDUCTIONS = ("mean", "sum")
EVALUATIONS = ("auto", "lines", "dense")
SCALE_INITS = ("original",)


def check_options(
    name: str,
    *,
    views: int | None = None,
    batch_size: int | None = None,
    normalize: bool = True,
    eps: float = 1e-8,
    targets: str = "diagonal",
    mask: str = "none",
    axes: str = "all",
    reduction: str = "mean",
    evaluation: str = "auto",
    scale_init: str = "original",
    memory_mib: int = 200,
) -> None:
    """Raises ConfigError for the first value that is not known, out of range, or means nothing beside the others."""
    one_of("loss", name, NAMES)
    choices = (("targets", targets, TARGETS), ("mask", mask, MASKS), ("axes", axes, AXES), ("reduction", reduction, REDUCTIONS))
    for key, value, allowed in (*choices, ("evaluation", evaluation, EVALUATIONS), ("scale_init", scale_init, SCALE_INITS)):
        one_of(f"loss.{key}", value, allowed)
    positive("loss.eps", eps)
    at_least("loss.memory_mib", memory_mib, 1)
    if views is not None:
        at_least("views", views, 2)
    if name in PAIR:
        why = f"means nothing with loss={name}, whose scores are (B, B) per direction"
        require(axes == "all", "loss.axes", axes, why, "all")
        require(evaluation != "dense", "loss.evaluation", evaluation, why, "auto, lines")
        require(normalize, "loss.normalize", normalize, f"means nothing with loss={name}, which always normalises", "true")
