"""The old stable-loss file gives the original's figures and gradients, and finite ones where the original gave NaN or
Inf.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.StableLossFunctions import (
    GradientStabilizer,
    ImprovedActivations,
    StableLossFunctions,
    get_stable_loss_function,
)

FIGURES = json.loads(
    (Path(__file__).resolve().parents[1] / "golden" / "stable_functions.json").read_text(encoding="utf-8")
)
CASES = [(case["views"], result) for case in FIGURES["cases"] for result in case["results"]]
ONE = FIGURES["one_argument"]
SCORES = (
    "stable_einsum_similarity",
    "stable_norm_based_similarity",
    "stable_cosine_similarity_nd",
    "stable_euclidean_distance_nd",
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


def exact(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def result_of(call: str, arguments: dict, views: list[Tensor]) -> Tensor:
    """The result of the function of a golden call."""
    if call == "get_stable_loss_function":
        return get_stable_loss_function(**arguments)(*views)
    return getattr(StableLossFunctions(**arguments), call.removeprefix("StableLossFunctions."))(*views)


def test_there_are_140_calls():
    assert len(CASES) == 140


@pytest.mark.parametrize("call", sorted({result["call"] for _, result in CASES}))
def test_the_golden_figures_and_gradients(call):
    for rows, result in CASES:
        if result["call"] == call:
            views = [exact(view).requires_grad_() for view in rows]
            out = result_of(call, result["args"], views)
            assert list(out.shape) == result["shape"]
            torch.testing.assert_close(out.flatten(), exact(result["out"]), rtol=0, atol=1e-9, msg=str(result["args"]))
            norms = torch.stack([gradient.norm() for gradient in torch.autograd.grad(out.sum(), views)])
            torch.testing.assert_close(norms, exact(result["grad"]), rtol=0, atol=1e-9, msg=str(result["args"]))


def test_the_functions_of_one_argument():
    x, functions = exact(ONE["x"]), StableLossFunctions()
    results = {
        "stable_sqrt": functions.stable_sqrt(x),
        "stable_log": functions.stable_log(x),
        "stable_division": functions.stable_division(x, exact(ONE["denominator"])),
        "stable_norm": functions.stable_norm(x),
        "swish_beta_2": ImprovedActivations.swish(x, 2.0),
        "leaky_relu_slope_0.2": ImprovedActivations.leaky_relu(x, negative_slope=0.2),
        "elu_alpha_2": ImprovedActivations.elu(x, 2.0),
        "scaled_tanh_scale_1": ImprovedActivations.scaled_tanh(x, 1.0),
    }
    assert set(results) == set(ONE) - {"x", "denominator", "activations"}
    for name, values in results.items():
        torch.testing.assert_close(values, exact(ONE[name]), rtol=1e-9, atol=1e-15)
    for name, values in ONE["activations"].items():
        torch.testing.assert_close(getattr(ImprovedActivations, name)(x), exact(values), rtol=1e-9, atol=1e-15)


def test_other_axes_can_be_scaled():
    x = torch.tensor([[3.0, 0.0], [4.0, 2.0]], dtype=torch.float64)
    columns = StableLossFunctions(eps=1.0).stable_norm(x, 0)
    torch.testing.assert_close(columns, exact([[3 / 6, 0.0], [4 / 6, 2 / 3]]))
    torch.testing.assert_close(StableLossFunctions(eps=1.0).stable_norm(x[:, 0], keepdim=False), exact([3 / 6, 4 / 6]))


def degenerate(kind: str) -> Tensor:
    """Four views at which roots, lengths and products of the formulas are those of 0."""
    views = torch.randn(4, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if kind == "zero row":
        views[1, 0] = 0
    axes = torch.eye(4, dtype=torch.float64).unsqueeze(1).repeat(1, 2, 1)
    return {"zero": 0 * views, "identical": views[:1].repeat(4, 1, 1), "zero row": views, "orthogonal": axes}[kind]


@pytest.mark.parametrize("kind", ["zero", "identical", "zero row", "orthogonal"])
@pytest.mark.parametrize("bound", [100, 0.2])
def test_gradients_are_finite_everywhere(kind, bound):
    views = degenerate(kind)
    functions = StableLossFunctions(clamp_min=-bound, clamp_max=bound)
    calls = [getattr(functions, name) for name in (*SCORES, "stable_mean_n_vectors")]
    calls += [get_stable_loss_function(version, normalize) for version in range(4) for normalize in (True, False)]
    calls += [
        lambda *vecs, name=name: getattr(functions, name)(torch.stack(vecs))
        for name in ("stable_norm", "stable_sqrt", "stable_log")
    ]
    for call in calls:
        leaf = views.clone().requires_grad_()
        out = call(*leaf)
        assert out.isfinite().all()
        assert torch.autograd.grad(out.sum(), leaf)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    views = exact(FIGURES["cases"][1]["views"]).to(dtype)
    views[0, 0] = 0  # 1e-8 is 0 in float16, and the length of this row too
    bounded = StableLossFunctions(clamp_min=-0.2, clamp_max=0.2)
    calls = [getattr(functions, name) for functions in (StableLossFunctions(), bounded) for name in SCORES]
    calls += [get_stable_loss_function(version) for version in range(4)]
    calls += [
        lambda *vecs, name=name: getattr(bounded, name)(vecs[0])
        for name in ("stable_norm", "stable_sqrt", "stable_log")
    ]
    calls += [lambda *vecs: bounded.stable_division(*vecs[:2])]
    for call in calls:
        leaf = views.clone().requires_grad_()
        out, wide = call(*leaf), call(*views.double())
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), wide, rtol=1e-5, atol=1e-6)
        assert torch.autograd.grad(out.sum(), leaf)[0].isfinite().all()


def test_an_unknown_version_is_refused_when_it_is_called():
    function = get_stable_loss_function(loss_version=4)
    with pytest.raises(ValueError, match="loss_version=4 is not known; allowed: 0, 1, 2, 3"):
        function(*torch.ones(2, 2, 3))


def test_an_unknown_activation_is_ignored_with_a_warning():
    views = exact(FIGURES["cases"][0]["views"])
    with pytest.warns(
        UserWarning,
        match="activation=relu is not known and is ignored; allowed: gelu, swish, mish, leaky_relu, elu, scaled_tanh",
    ):
        function = get_stable_loss_function(1, activation="relu")
    assert torch.equal(function(*views), get_stable_loss_function(1)(*views))


def test_the_switch_for_log_space_changes_nothing():
    views = exact(FIGURES["cases"][0]["views"])
    functions = StableLossFunctions(1e-8, -100, 100, True)
    assert functions.use_log_space is True
    for name in SCORES:
        assert torch.equal(getattr(functions, name)(*views), getattr(StableLossFunctions(), name)(*views))


def test_the_stabiliser():
    x = torch.tensor([[1.0, 3.0, 8.0], [2.0, 2.5, 9.0]])
    rows = (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True)
    columns = (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(GradientStabilizer(hidden_dim=3)(x), rows)
    batch = GradientStabilizer("batch_norm", 3, 1e-8, 0.25)
    torch.testing.assert_close(batch(x), columns, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch.norm.running_mean, x.mean(0) / 4)
    for method in ("weight_norm", "spectral_norm"):
        assert torch.equal(GradientStabilizer(method)(x), x)
    with pytest.raises(ValueError, match="method=group_norm is not known"):
        GradientStabilizer("group_norm", 3)
    with pytest.raises(ValueError, match="hidden_dim=None is not enough for method=layer_norm"):
        GradientStabilizer()
