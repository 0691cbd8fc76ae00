"""The parts of the LightningModule, without Lightning, compared with sums computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from model.losses import make_loss
from model.training.epoch_mean import EpochMean
from model.training.evaluated_views import EvaluatedViews
from model.training.logit_scale import LogitScaleMixin
from model.training.view_gradients import ViewGradients


def scale(chosen_cap: float | None = None) -> LogitScaleMixin:
    return LogitScaleMixin(trained=True, scale_due=True, chosen_cap=chosen_cap)


def test_the_state_has_the_names_of_the_scale_that_other_tools_read():
    assert {name: value.item() for name, value in scale().state_dict().items()} == pytest.approx(
        {"logit_scale": math.log(1 / 0.07), "scale_cap": 100.0}
    )
    assert [name for name, _ in scale().named_parameters()] == ["logit_scale"]


def test_loaded_weights_are_limited_by_their_own_cap():
    module = scale()
    module.load_state_dict({"logit_scale": torch.tensor(math.log(900.0)), "scale_cap": torch.tensor(300.0)})
    assert module.multiplier().item() == pytest.approx(300.0)


@pytest.mark.parametrize(("chosen_cap", "largest"), [(None, math.inf), (2.0, 2.0)])
def test_the_chosen_scale_makes_logits_differ_by_1_below_the_cap(chosen_cap, largest):
    """The standard deviation of the products of rows that do not match, times the multiplier."""
    module, views = scale(chosen_cap), torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    start, cap = module.choose_scale(make_loss("stock", views=2, batch_size=40), views)
    first, second = torch.nn.functional.normalize(views.double(), dim=2)
    products = (first @ second.T)[~torch.eye(40, dtype=torch.bool)]
    assert start == pytest.approx(min(1 / products.std(correction=0).item(), largest), rel=1e-6)
    assert module.multiplier().item() == pytest.approx(start, rel=1e-6)
    assert cap == (100.0 if chosen_cap is None else chosen_cap)
    assert not module.scale_due


def test_the_mean_of_an_epoch_leaves_out_skipped_steps():
    mean = EpochMean()
    for losses, skipped in (((1.0, 2.0), False), ((math.nan, 5.0), True), ((6.0,), False)):
        for loss in losses:
            mean.add(torch.tensor(loss))
        torch.testing.assert_close(mean.end_step(skipped=skipped), torch.tensor(losses), equal_nan=True)
    restored = EpochMean()
    restored.load_state_dict(mean.state_dict())
    assert [mean.end_epoch(), restored.end_epoch(), restored.end_epoch()] == [3.0, 3.0, None]


def test_gradients_of_accumulated_batches_count_as_one_large_batch():
    """The loss sum(w * v^2) has the gradient 2 w v with respect to v."""
    gradients, weights = ViewGradients(), torch.tensor([1.0, 3.0]).view(2, 1, 1)
    assert gradients.norms(1.0) is None
    batches = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    for batch in batches:
        views = batch.clone().requires_grad_()
        gradients.watch(views)
        (8 * weights * views.square()).sum().backward()
    expected = (2 * weights * torch.cat(tuple(batches), dim=1)).flatten(1).norm(dim=1)
    torch.testing.assert_close(gradients.norms(8.0), expected)
    gradients.clear()
    assert gradients.norms(1.0) is None


def test_the_views_of_a_split_are_in_its_order_and_each_row_once():
    """Processes repeat rows so that all have as many batches."""
    rows, evaluated = torch.arange(10.0).view(2, 5, 1), EvaluatedViews()
    for indices in ([3, 1], [4, 0], [2, 3]):
        evaluated.add(rows[:, indices].double(), torch.tensor(indices))
    assert torch.equal(evaluated.gather(), rows)
