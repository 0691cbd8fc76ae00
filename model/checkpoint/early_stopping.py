"""Early stopping that a resumed run respects."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks

from model.config.best import Best


class EarlyStopping(callbacks.EarlyStopping):
    """Ends training after `patience` validations without a better figure.

    It is Lightning's EarlyStopping with two changes: a resumed run uses the patience of its configuration, and a run
    that was stopped early trains no further when it is resumed. The class has the same name as Lightning's, because a
    checkpoint stores the state under that name and the name of the figure. So the count of an earlier version, which
    watched the training loss, is not continued.
    """

    def __init__(self, watched: Best, patience: int) -> None:
        # strict=False: a validation without the figure does not end the run.
        super().__init__(watched.metric, patience=patience, mode=watched.mode, strict=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best value and the number of validations without improvement."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops a run whose checkpoint has no patience left."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(1, self.patience)
