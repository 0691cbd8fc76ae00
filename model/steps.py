"""The optimizer steps that get a row."""

from __future__ import annotations


def due(step: int, every: int, last: float) -> bool:
    """Returns whether `step`, counted from 1, gets a row: the first step, every step divisible by `every`, and the
    last.

    last: the last step of the schedule, trainer.estimated_stepping_batches (-1 or infinite: not known). A run that ends
    before it, by early stopping, a time limit or a signal, gets no extra row for its last step: such a run may be
    continued, and then has the same rows as an uninterrupted run.
    """
    return step == 1 or step % every == 0 or step == last
