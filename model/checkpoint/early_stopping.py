"""Early stopping in a run that goes on."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, with the patience that is configured now, and with an end that lasts: a run that was stopped trains
    no further epoch.

    The class has the name of Lightning's, by which a checkpoint keeps its state.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The lowest figure and the epochs waited since."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a run whose checkpoint has waited long enough."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(1, self.patience)
