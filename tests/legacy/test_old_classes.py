"""Classes and functions of the old training scripts: some still work, the others name their replacement."""

from __future__ import annotations

import importlib
import inspect
import shlex
import warnings

import pytest
import torch

from model.errors import ConfigError
from model.legacy.__main__ import main

CLASSES = {
    "trainclip_v534DIM": "LightningCLIPModule",
    "trainclip_v5335DIM": "LightningCLIPModule",
    "trainclip_v53_baseline": "BaselineLightningCLIPModule",
    "example_enhanced_training": "EnhancedLightningCLIPModule",
}


@pytest.mark.parametrize(("module", "name"), CLASSES.items())
def test_an_old_class_can_be_imported_and_names_the_command(module, name, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old = getattr(importlib.import_module(f"model.{module}"), name)
    keywords = {
        "normlogits": False,
        "projection": "None",
        "meanloss": True,
        "precision": 16,
        "batch_size": 8,
        "eval_splits": None,
        "JSE": 0,
    }
    for call in (lambda: old(1e-4, 7, **keywords), lambda: old(learning_rate=1e-4, logitsversion=7, **keywords)):
        with pytest.raises(ConfigError) as error:
            call()
        first, second = str(error.value).splitlines()
        assert name in first
        assert "without " in first
        assert "JSE" in first
        words = " ".join(
            f"--{key} {value}" for key, value in {"learning_rate": 1e-4, "logitsversion": 7, **keywords}.items()
        )
        assert main(shlex.split(f"{module} {words}")) == 0
        assert second == capsys.readouterr().out.splitlines()[0]
        assert second.startswith("python train.py ")


@pytest.mark.parametrize(
    ("arguments", "keywords", "words"),
    [
        ((), {"learningrate": 1}, "did you mean learning_rate?"),
        ((), {"logitsversion": 99}, "logitsversion=99 is not a value"),
        (tuple(range(7)), {}, "7 arguments by position"),
        ((1e-4,), {"learning_rate": 1e-4}, "two values for learning_rate"),
        ((), {"use_stable_loss": True}, "example_enhanced_training"),
    ],
)
def test_a_wrong_argument_of_an_old_class_is_named(arguments, keywords, words):
    from model.trainclip_v534DIM import LightningCLIPModule

    with pytest.raises(ConfigError, match=r"; allowed: |two values") as error:
        LightningCLIPModule(*arguments, **keywords)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize("name", ["None", "inv", "iinv", "other"])
def test_the_old_projection(name):
    from model.Projection import get_proj_fn

    torch.manual_seed(0)
    matrix, image, texts = (
        torch.randn(4, 4).double(),
        torch.randn(3, 4).double(),
        [torch.randn(3, 4).double() for _ in range(2)],
    )
    with pytest.warns(DeprecationWarning, match="use model.projection="):
        project = get_proj_fn(name)
    (image_out,), texts_out = project(matrix, im=[image], text=texts)
    image_matrix, text_matrix = {
        "None": (None, matrix),
        "inv": (matrix, None),
        "iinv": (torch.linalg.inv(matrix), None),
        "other": (None, None),
    }[name]
    torch.testing.assert_close(image_out, image if image_matrix is None else image @ image_matrix)
    for before, after in zip(texts, texts_out, strict=True):
        torch.testing.assert_close(after, before if text_matrix is None else before @ text_matrix)


def test_the_old_lion():
    from model.LionOptimizer import Lion

    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    with pytest.warns(DeprecationWarning, match="use optimizer=lion"):
        optimizer = Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    weight.grad = torch.tensor([3.0, -0.1])
    optimizer.step()
    # Decay by lr * weight_decay, then a step of lr against the sign of (1 - 0.9) * gradient.
    torch.testing.assert_close(weight.detach(), torch.tensor([1.0 * 0.95 - 0.1, -2.0 * 0.95 + 0.1]))
    parameters = inspect.signature(Lion).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "params"}
    assert defaults == {
        "lr": 1e-4,
        "betas": (0.9, 0.99),
        "weight_decay": 0.0,
        "use_triton": False,
        "decoupled_weight_decay": False,
    }


def test_pruning_points_to_the_page():
    from model.PruneCalculation import PruneHook

    with pytest.raises(ConfigError, match=r"allowed: training without it, see docs/migration\.md"):
        PruneHook(torch.nn.Linear(2, 2), [-1, 0, 1], 0.1, method="Hard")
