"""Early stopping that a resumed run respects."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's EarlyStopping with two changes: a resumed run uses the patience of its configuration, and a run that
    was stopped early trains no further epoch when it is resumed.

    The class has the same name as Lightning's, because a checkpoint stores the state under that name.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the lowest value and the number of epochs without improvement."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops a run whose checkpoint has no patience left."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(1, self.patience)
