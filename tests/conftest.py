"""Fixtures shared by the suite."""

from __future__ import annotations

import copy
import gc
import importlib
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import product

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from model.config.compose import CONF, from_hydra, groups, register_schemas
from model.config.schema import RunConfig

# The smallest run that has everything: six views, two epochs of three steps.
SMALL = [
    "trainer=cpu",
    "report=false",
    "analysis=off",
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
# An override that sets the value of a key of the run: nothing added or taken away, and nothing of Hydra's own.
VALUE = re.compile(r"(?!hydra\.)[\w.]+=")

# Small tensors: threads cost more than they bring, and every core has a process of the suite. Processes that tests
# start read the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """Imports what a run needs, and excludes it from garbage collection, which every run starts before it measures its
    memory.
    """
    importlib.import_module("model.run")
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def pictures_forgotten(tmp_path_factory) -> Iterator[None]:
    """Stores what is known about the tests' pictures in a folder of the tests, not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("picture_cache", "row_store", "array_cache"):
            patch.setattr(f"model.data.{module}.cache_folder", lambda: tmp_path_factory.getbasetemp() / "cache")
        yield


def some(values: Sequence[object], every: int) -> list[object]:
    """One in `every` of a test's values runs by default, the others carry the marker slow."""
    return [
        pytest.param(value, marks=pytest.mark.slow) if number % every else value for number, value in enumerate(values)
    ]


def some_of_all(every: int, *values: Iterable[object]) -> list[object]:
    """All combinations of the values of several arguments. One in `every`, chosen at random, runs by default, the
    others carry the marker slow.
    """
    combinations = list(product(*values))
    slow = [number % every > 0 for number in range(len(combinations))]
    random.Random(0).shuffle(slow)
    return [
        pytest.param(*one, marks=pytest.mark.slow) if is_slow else one
        for one, is_slow in zip(combinations, slow, strict=True)
    ]


def compose_run(*overrides: str) -> RunConfig:
    """The checked configuration of these overrides, as train.py would make it.

    Hydra needs half a second to compose. So the composition of each combination of choices is kept, and values are set
    in a copy of it, which is also Hydra's last step.
    """
    register_schemas()
    choices = tuple(override for override in overrides if override.partition("=")[0] in groups())
    values = [override for override in overrides if override not in choices]
    if all(VALUE.match(value) for value in values):
        config = copy.deepcopy(compose_choices(choices))
        try:
            for override in OverridesParser.create().parse_overrides(values):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            pass  # below, Hydra raises its own error
        else:
            return from_hydra(config)
    return from_hydra(compose_choices(overrides))


@cache
def compose_choices(overrides: tuple[str, ...]) -> DictConfig:
    """The configuration that Hydra composes."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.fixture
def composed() -> Callable[..., RunConfig]:
    """`composed("loss=norms", …)`: see `compose_run`."""
    return compose_run


@pytest.fixture
def small(composed) -> Callable[..., RunConfig]:
    """`small("loss=norms", …)`: as `composed`, with the settings of the smallest run."""
    return lambda *overrides: composed(*SMALL, *overrides)
