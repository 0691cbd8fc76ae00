"""Tiny runs of the tests of trained models, trained once for all tests of a process."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from torch import Tensor

from model.data.scenes import make
from model.data.source import Source, SourceOptions
from model.module import NWayClip
from model.run import run
from model.trained.loading import load_run
from model.trained.trained_model import TrainedModel
from tests.conftest import SMALL, compose_run

VIEWS = ["model=v534dim", "model.captions=2", "model.projection=inv", "loss=normsv5", "evaluate=[test]"]


class TrainedRun(NamedTuple):
    """A run, and what its own evaluation computed."""

    folder: Path
    test_views: Tensor
    """(n, N, D), of the test split."""
    source: Source

    def pictures(self) -> list[Image.Image]:
        """The pictures of the test split."""
        pixels = self.source.images("test", range(self.source.size("test")))
        return [Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()) for picture in pixels]

    def captions(self) -> list[list[str]]:
        """The first two captions of each picture of the test split."""
        return [texts[:2] for texts in self.source.texts("test", range(self.source.size("test")))]


def train(folder: Path, *overrides: str) -> TrainedRun:
    """Trains and evaluates a run of the smallest size."""
    views: list[Tensor] = []
    evaluate = NWayClip.on_test_epoch_end

    def keep(module: NWayClip) -> None:
        evaluate(module)
        views.append(module.test_views)

    config = compose_run(*SMALL, *overrides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NWayClip, "on_test_epoch_end", keep)
        run(config, folder)
    return TrainedRun(folder, views[-1], make(config.data, SourceOptions(config.backbone.image_size, config.seed)))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> TrainedRun:
    """A run of image, caption 1, decoded caption 2 and encoded caption 2."""
    return train(tmp_path_factory.mktemp("trained") / "run", *VIEWS)


@pytest.fixture(scope="session")
def trained(trained_run) -> TrainedModel:
    """The model of that run."""
    return load_run(trained_run.folder)


@pytest.fixture(scope="session")
def picture_folder(trained_run, tmp_path_factory) -> Path:
    """The pictures of the test split as PNG files, named so that their order is that of the split."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(trained_run.pictures()):
        picture.save(folder / f"{number:02}.png")
    return folder
