"""Combinations that the old scripts accepted and that are refused today. Each step replaces some of them with the
nearest combination that is accepted, and notes the replacement.
"""

from __future__ import annotations

from model.config.compose import loss_family
from model.legacy._replacement import Command
from model.loss_options import MATRIX, NORMALISED_ONLY, largest_dense_batch, needs_dense


def fit_pairs(command: Command) -> None:
    """Removes options of tuples from a loss of pairs, and the unscaled rows of a loss that always scales them."""
    loss = command.value("loss") or ""
    if not loss:
        return
    matrix = loss_family(loss) == MATRIX
    if matrix or loss in NORMALISED_ONLY:
        command.remove_unless("loss.normalize", "true", f"loss={loss} always scales rows")
    if matrix:
        for key, accepted in (("loss.mask", "none"), ("loss.targets", "diagonal"), ("loss.axes", "all")):
            command.remove_unless(key, accepted, f"loss={loss} has scores of pairs, so there are no tuples to weight")


def fit_mask(command: Command) -> None:
    """Sets the reduction to mean for the mask raw, which computes a mean itself, and removes loss.axes for the mask
    sigmoid, which has no axes.
    """
    mask = command.overrides.get("loss.mask")
    if mask == "raw":
        command.overrides["loss.reduction"] = "mean"
        command.notes.append(
            "loss.reduction=sum, the old value, is refused: loss.mask=raw divides by B^(n-1) itself; "
            "loss.reduction=mean"
        )
    if mask == "sigmoid":
        command.remove_unless("loss.axes", "all", "loss.mask=sigmoid has no softmax, and so no axes")


def fit_batch(command: Command) -> None:
    """Makes the batch so small that all tuples fit into memory, if the options of the loss need every tuple."""
    overrides = command.overrides
    if not needs_dense(overrides.get("loss.targets", "diagonal"), overrides.get("loss.mask", "none")):
        return
    size, views = int(command.value("data.batch_size") or 0), command.script.views
    most = largest_dense_batch(views)
    if size > most:
        overrides["data.batch_size"] = str(most)
        command.notes.append(
            f"data.batch_size={size} is refused today: {size}^{views} tuples do not fit into memory; {most} is the most"
        )


FITS = (fit_pairs, fit_mask, fit_batch)
