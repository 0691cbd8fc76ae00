"""A run that an error interrupts."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.config.schema import RunConfig
from model.module import NWayClip
from model.run import run


def run_until_error(config: RunConfig, folder: Path, step: int) -> None:
    """Runs in `folder` until an error in the batch after `step` optimizer steps."""
    training_step = NWayClip.training_step

    def fails(self, *batch):
        if self.global_step == step:
            raise RuntimeError("interrupted")
        return training_step(self, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NWayClip, "training_step", fails)
        with pytest.raises(RuntimeError, match="interrupted"):
            run(config, folder)
