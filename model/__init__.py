"""n-way CLIP: an image and its captions as 2 to 10 views, contrasted jointly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.trained.trained_model import TrainedModel

# The old module names live in legacy/; delete this line and the folder together.
__path__.append(str(Path(__file__).with_name("legacy")))


def load(run: str | os.PathLike[str], device: str = "cpu", dtype: str = "float32") -> TrainedModel:
    """Returns the trained model of a run, ready to encode pictures and texts. It needs no data source and no trainer.

    run: the folder of a run, of which best.ckpt is loaded (last.ckpt if there is no best.ckpt), or a checkpoint file in
    that folder. device: where the model computes, as for torch.device. dtype: `float32` or `float64`, in which the
    model computes and returns features.

    Raises ConfigError, a ValueError, if there is no such run or checkpoint, if a file of the run is damaged, or if the
    device cannot be used.
    """
    # Imported here: torch and transformers take seconds, and commands print their help without them.
    from model.trained.loading import load_run

    return load_run(Path(run), device, dtype)
