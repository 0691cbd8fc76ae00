"""Recipes: the views of each value of `model=`, and plans that no shipped recipe has."""

from __future__ import annotations

import pytest
import torch

from model.config.compose import CONF
from model.errors import ConfigError
from model.views.recipes import RECIPES, CaptionView, Kind, ViewPlan, plan_views, recipe
from tests.views.small import make_batch, planned_encoder


@pytest.mark.parametrize(
    ("model", "captions", "names"),
    [
        ("clip", 1, ("image", "caption_1")),
        ("clip", 2, ("image", "caption_1", "caption_2")),
        ("v5335dim", 3, ("image", "caption_1", "translated_2", "translated_3")),
        ("v534dim", 3, ("image", "caption_1", "decoded_2", "decoded_3", "encoded_2", "encoded_3")),
        ("v534dim", 1, ("image", "caption_1")),
    ],
)
def test_a_model_has_the_views_of_the_original_trainer(model, captions, names):
    assert plan_views(model, captions).names == names


@pytest.mark.parametrize("reads", range(2, 7))
def test_a_plan_for_a_loss_that_reads_fewer_views_is_the_beginning_of_the_whole_plan(reads):
    assert plan_views("v534dim", 3, reads).names == plan_views("v534dim", 3).names[:reads]


def test_every_recipe_has_a_configuration_and_the_reverse():
    files = {path.stem for path in (CONF / "model").glob("[!_]*.yaml")}
    assert files - set(RECIPES) == set(), "write a function with @recipe in model/views/recipes.py"
    assert set(RECIPES) - files == set(), "write conf/model/<name>.yaml"


def test_a_name_without_a_recipe_is_refused():
    with pytest.raises(ConfigError, match="model=v533dim is not known; allowed: clip, v5335dim, v534dim"):
        plan_views("v533dim", 3)


def test_a_new_recipe_is_one_function(monkeypatch):
    monkeypatch.setattr("model.views.recipes.RECIPES", dict(RECIPES))

    @recipe
    def both(captions: int) -> ViewPlan:
        """Caption 2 translated and decoded."""
        return ViewPlan((CaptionView(Kind.TRANSLATED, 1), CaptionView(Kind.DECODED, 1)))

    assert plan_views("both", 2).names == ("image", "translated_2", "decoded_2")
    assert "both" not in RECIPES


def test_views_come_in_the_order_of_the_plan():
    """Views of all kinds in an unusual order: each equals the view of the same name in another order."""
    order = [(Kind.DECODED, 2), (Kind.TRANSLATED, 1), (Kind.ENCODED, 2), (Kind.CAPTION, 0), (Kind.DECODED, 1)]
    views = tuple(CaptionView(*view) for view in order)
    swapped = (views[4], views[3], views[0], views[2], views[1])
    batch = make_batch()
    with torch.no_grad():
        rows, swapped_rows = (planned_encoder(ViewPlan(plan)).eval()(*batch) for plan in (views, swapped))
    assert rows.shape == (6, 4, 16)
    for view, row in zip(views, rows[1:], strict=True):
        torch.testing.assert_close(row, swapped_rows[1 + swapped.index(view)])
    assert not torch.allclose(rows[1], rows[5])


@pytest.mark.parametrize("order", [[Kind.ENCODED], [Kind.ENCODED, Kind.DECODED]])
def test_an_encoded_view_needs_the_decoded_view_before_it(order):
    with pytest.raises(ValueError, match="encoded_2 has no decoded_2 before it"):
        ViewPlan(tuple(CaptionView(kind, 1) for kind in order))
