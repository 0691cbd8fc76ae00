"""Saves and restores the state of every random generator as plain numbers and tensors, because checkpoints are read
with weights_only=True.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Returns the states of the generators of Python, numpy, torch and every GPU."""
    numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002 - libraries use this global generator
    assert isinstance(numpy_state, tuple)  # legacy=True returns a tuple, not a dictionary
    name, keys, position, has_gauss, gauss = numpy_state
    version, numbers, gauss_next = random.getstate()
    return {
        "python": [version, list(numbers), gauss_next],
        "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restores what `random_state` returned. The states of the GPUs are not restored if the number of GPUs differs."""
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
