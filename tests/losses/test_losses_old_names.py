"""Code written against the original files runs on the new functions, with one warning for each name."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from model.legacy import calls

GOLDEN = {n: dict(np.load(Path(__file__).parents[1] / "golden" / f"logits_n{n}.npz")) for n in range(2, 7)}
MODULES = ["model.LossCalculation", "model.nargsLossCalculation"]


@pytest.fixture(autouse=True)
def _fresh_warnings():
    calls.warn_once.cache_clear()


def views(n):
    return list(torch.from_numpy(GOLDEN[n]["views"]))


def check(logits, n, name):
    got = logits if isinstance(logits, tuple) else (logits,)
    keys = [key for key in (name, f"{name}_image", f"{name}_text") if key in GOLDEN[n]]
    for one, key in zip(got, keys, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(GOLDEN[n][key]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("module", MODULES)
def test_old_functions_give_the_golden_figures(module, n):
    old = importlib.import_module(module)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        checked = 0
        for function, name in calls.FUNCTIONS.items():
            if name in GOLDEN[n] or f"{name}_image" in GOLDEN[n]:
                check(getattr(old, function)(*views(n)), n, name)
                getattr(old, function)(*views(n))
                checked += 1
    assert checked >= 17
    assert len(seen) == checked  # one each, though each was called twice
    assert str(seen[0].message) == f"{module}.calculate_loss is an old name; use model.losses.make_loss('einsum').score"


@pytest.mark.parametrize("version", range(-1, 18))
def test_old_numbers_give_the_golden_figures(version):
    from model.nargsLossCalculation import get_loss_fn

    with pytest.warns(DeprecationWarning, match="get_loss_fn is an old name"):
        function = get_loss_fn(logitsversion=version, norm=True)
    name = calls.VERSIONS[version]
    if version == 12:  # never normalised its rows
        x = torch.nn.functional.normalize(torch.stack(views(6)), dim=-1)
        check(function(*x), 6, name)
    else:
        check(function(*views(6)), 6, name)


def test_an_old_number_that_was_not_there_is_refused():
    from model.LossCalculation import get_loss_fn

    with pytest.raises(ValueError, match="logitsversion=19 is not known"):
        get_loss_fn(logitsversion=19, norm=True)


def test_old_stable_functions():
    from model.StableLossFunctions import ImprovedActivations, StableLossFunctions, get_stable_loss_function

    with pytest.warns(DeprecationWarning, match=r"use model.losses.make_loss\('stable_einsum'\).score"):
        check(StableLossFunctions.stable_einsum(*views(3)), 3, "einsum")
    with pytest.warns(DeprecationWarning, match="stable_norm"):
        check(get_stable_loss_function("norm")(*views(3)), 3, "norms")
    with pytest.raises(ValueError, match="name=stable_sum is not known"):
        get_stable_loss_function("sum")
    for name, new in (("swish", "silu"), ("gelu", "gelu"), ("mish", "mish")):
        with pytest.warns(DeprecationWarning, match=f"torch.nn.functional.{new}"):
            assert getattr(ImprovedActivations, name)(torch.ones(1)) > 0.7
