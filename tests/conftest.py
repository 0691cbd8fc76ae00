"""Fixtures shared by the suite."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from hydra import compose, initialize_config_dir

from model.config.compose import CONF, from_hydra, register_schemas
from model.config.schema import RunConfig

# The smallest run that has everything: six views, two epochs of three steps.
SMALL = [
    "trainer=cpu",
    "report=false",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
    "data.batch_size=8",
    "data.train_size=24",
    "data.val_size=20",
    "data.test_size=20",
    "data.vocab_size=300",
    "backbone.vision_width=16",
    "backbone.vision_layers=1",
    "backbone.text_width=16",
    "backbone.text_layers=1",
    "backbone.translator_ffn=16",
]


# Small tensors: threads cost more than they bring, and every core has a process of the suite. Processes that tests start read the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def compose_run(*overrides: str) -> RunConfig:
    """The checked configuration of these overrides, as train.py would make it."""
    register_schemas()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return from_hydra(compose("train", list(overrides)))


@pytest.fixture
def composed() -> Callable[..., RunConfig]:
    """`composed("loss=norms", …)`: see `compose_run`."""
    return compose_run


@pytest.fixture
def small(composed) -> Callable[..., RunConfig]:
    """The same, of the smallest run."""
    return lambda *overrides: composed(*SMALL, *overrides)
