"""Which optimizer steps are recorded."""

from __future__ import annotations


def due(step: int, every: int, last: float) -> bool:
    """Whether `step`, counted from 1, gets a row: the first one, every so many, and the last.

    last: the step after which the run ends by itself, as trainer.estimated_stepping_batches gives it (-1 or infinite:
    not known). A run that ends before, by early stopping, a limit of time or a signal, gets no row for it: it may go
    on, and then has the rows of one that was not cut.
    """
    return step == 1 or step % every == 0 or step == last
