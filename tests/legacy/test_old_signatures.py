"""Every old name exists, takes its old arguments, and warns once that another name replaces it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from model.legacy._deprecation import warn_once

SIX = "I, C1, C2, C3, C4, C5"
ANY = "*vecs, mean_fn=calc_mean"
BOTH = {
    "oneminus": "args",
    "logargs": "args",
    "normargs": "*args",
    "null": "*args",
    "add_loss_sum": "I=[], T=[]",
    "add_loss_sum2": "I=[], T=[]",
    "get_loss_sum": "version=False",
    "get_loss_calc": 'reduction="sum", ver=0, mask=None',
}
SIGNATURES = {
    "GradientHealthCheck": {
        "GradientHealthMonitor": (
            "model, grad_clip_threshold=1.0, vanishing_threshold=1e-7, exploding_threshold=100.0, log_frequency=100, "
            "enable_detailed_logging=True"
        ),
        "GradientHealthMonitor.check_gradients": "self",
        "GradientHealthMonitor.log_statistics": "self, stats, step=None, logger=None",
        "GradientHealthMonitor.apply_gradient_clipping": "self, max_norm=1.0",
        "GradientHealthMonitor.get_gradient_flow_summary": "self",
        "GradientHealthMonitor.reset_statistics": "self",
        "ActivationMonitor": "model",
        "ActivationMonitor.register_hooks": "self",
        "ActivationMonitor.remove_hooks": "self",
        "ActivationMonitor.get_statistics": "self",
        "ActivationMonitor.detect_dead_neurons": "self, threshold=1e-6",
        "add_gradient_noise": "model, noise_std=1e-5, gamma=0.55",
        "get_activation_function_recommendations": 'layer_type, problem="vanishing"',
    },
    "StableLossFunctions": {
        "StableLossFunctions": "eps=1e-8, clamp_min=-100, clamp_max=100, use_log_space=False",
        "StableLossFunctions.stable_norm": "self, x, dim=-1, keepdim=True",
        "StableLossFunctions.stable_division": "self, numerator, denominator",
        "StableLossFunctions.stable_sqrt": "self, x",
        "StableLossFunctions.stable_log": "self, x",
        "StableLossFunctions.stable_mean_n_vectors": "self, *vectors",
        "StableLossFunctions.stable_einsum_similarity": "self, *features",
        "StableLossFunctions.stable_norm_based_similarity": "self, *features",
        "StableLossFunctions.stable_cosine_similarity_nd": "self, *features",
        "StableLossFunctions.stable_euclidean_distance_nd": "self, *features",
        "get_stable_loss_function": "loss_version=0, normalize=True, eps=1e-8, activation=None",
        "ImprovedActivations.gelu": "x",
        "ImprovedActivations.swish": "x, beta=1.0",
        "ImprovedActivations.mish": "x",
        "ImprovedActivations.leaky_relu": "x, negative_slope=0.01",
        "ImprovedActivations.elu": "x, alpha=1.0",
        "ImprovedActivations.scaled_tanh": "x, scale=1.7159",
        "GradientStabilizer": 'method="layer_norm", hidden_dim=None, eps=1e-8, momentum=0.1',
    },
    "IntegrateGradientHealthChecks": {
        "EnhancedTrainingMixin.setup_gradient_monitoring": (
            "self, enable_gradient_monitoring=True, enable_activation_monitoring=False, gradient_clip_threshold=1.0, "
            "log_frequency=100"
        ),
        "EnhancedTrainingMixin.check_and_log_gradients": "self, step, apply_clipping=False, max_grad_norm=1.0",
        "EnhancedTrainingMixin.get_activation_statistics": "self",
        "integrate_health_checks": "module, loss, step, apply_gradient_clipping=True, max_grad_norm=1.0",
        "replace_loss_function_with_stable_version": "module, loss_version=1, normalize=True, eps=1e-8",
        "add_gradient_checkpointing": "model, modules_to_checkpoint=None",
    },
    "LossCalculation": {
        "get_loss_fn": "logitsversion=0, norm=False, log=False",
        "calculate_loss": SIX,
        **{f"calculate_loss{k}": SIX for k in range(1, 9)},
        "calculate_lossNorms": SIX,
        **{f"calculate_lossNormsv{k}": SIX for k in (*range(2, 10), "c")},
        "calculate_lossStock": "I, C1",
        "calculate_lossbase": f"{SIX}, norm=True, log=False",
        **BOTH,
    },
    "nargsLossCalculation": {
        "get_loss_fn": "logitsversion=0, norm=False, log=False, JSE=0",
        "calculate_loss": ANY,
        **{f"calculate_loss{k}": ANY for k in range(1, 9)},
        "calculate_lossNorms": ANY,
        **{f"calculate_lossNormsv{k}": ANY for k in range(2, 8)},
        "calculate_lossStock": "vecs",
        "calculate_lossbase": "vecs, norm=True, log=False",
        "calc_mean": "*vecs",
        "JSE_mean": "*vecs",
        "Fast_loss_Hdim": "*vecs",
        "calcloss": "*arguments, **keywords",
        **BOTH,
    },
}
NAMES = [(module, name) for module, names in SIGNATURES.items() for name in names]


def old(module: str, name: str) -> object:
    """The object that an old module has under a dotted name."""
    value = importlib.import_module(f"model.{module}")
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parameters(function: object) -> list[tuple]:
    """Name, kind and default of each argument."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@contextmanager
def deprecations() -> Iterator[list[warnings.WarningMessage]]:
    """Collects the DeprecationWarnings of a block, in which every name warns as in a new process."""
    warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        yield caught


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_signature(module, name):
    known = {"calc_mean": old("nargsLossCalculation", "calc_mean")}
    assert parameters(old(module, name)) == parameters(eval(f"lambda {SIGNATURES[module][name]}: None", known))


@pytest.mark.parametrize("module", SIGNATURES)
def test_what_a_star_imports(module):
    public = {name.split(".")[0] for name in SIGNATURES[module]}
    assert set(importlib.import_module(f"model.{module}").__all__) == public


@pytest.mark.parametrize("module", SIGNATURES)
def test_an_import_gives_no_warning(module):
    spec = importlib.util.find_spec(f"model.{module}")
    with deprecations() as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert not caught


def use(module: str, name: str) -> None:
    """Calls a function, or constructs a class, of an old module."""
    function, views = old(module, name), torch.ones(6, 2, 3).unbind()
    net = nn.Linear(3, 3)
    net.calculate_loss, net.transformer = sum, nn.Linear(3, 3)
    pair = views[:2] if module == "LossCalculation" else (views,)
    views_of_base = views if module == "LossCalculation" else (views,)
    arguments = {
        "GradientHealthMonitor": (net,), "ActivationMonitor": (net,), "add_gradient_noise": (net,),
        "StableLossFunctions": (),
        "get_activation_function_recommendations": ("mlp",), "get_stable_loss_function": (),
        "GradientStabilizer": ("layer_norm", 3),
        "integrate_health_checks": (net, 0.0, 0), "replace_loss_function_with_stable_version": (net,),
        "add_gradient_checkpointing": (net,),
        "get_loss_fn": (), "get_loss_sum": (), "get_loss_calc": (), "oneminus": views[:1], "logargs": views[:1],
        "add_loss_sum": (views, views), "add_loss_sum2": (views, views), "calculate_lossStock": pair,
        "calculate_lossbase": views_of_base,
    }  # fmt: skip
    if name.startswith("ImprovedActivations."):
        function(views[0])
    elif name == "EnhancedTrainingMixin.setup_gradient_monitoring":
        type("Mixed", (old(module, "EnhancedTrainingMixin"), nn.Linear), {})(3, 3).setup_gradient_monitoring()
    else:
        function(*arguments.get(name, views))


WARNED = [(module, name) for module, name in NAMES if name != "calcloss" and "self" not in SIGNATURES[module][name]]


@pytest.mark.parametrize(
    ("module", "name"), [*WARNED, ("IntegrateGradientHealthChecks", "EnhancedTrainingMixin.setup_gradient_monitoring")]
)
def test_one_warning_names_the_replacement(module, name):
    with deprecations() as caught:
        use(module, name)
        use(module, name)
    (warning,) = caught
    public = name.removesuffix(".setup_gradient_monitoring")
    assert str(warning.message).startswith(f"model.{module}.{public} is an old name; use ")
    assert warning.filename == __file__  # the line that uses the name


def test_a_removed_function_names_its_replacement():
    with pytest.raises(
        ValueError, match=r"^model.nargsLossCalculation.calcloss has been removed\nuse model.losses.make_loss\(.*$"
    ):
        old("nargsLossCalculation", "calcloss")(1, loss=2)


@pytest.mark.parametrize("module", ["LossCalculation", "nargsLossCalculation"])
@pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")
def test_functions_can_be_pickled(module):
    views = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0)).unbind()
    cases = [
        (old(module, "get_loss_fn")(logitsversion=11, norm=True), views),
        (old(module, "calculate_loss5"), views),
        (old(module, "get_loss_calc")(ver=4, mask=torch.ones(2, 3)), (*views[:2], None)),
        (old("StableLossFunctions", "get_stable_loss_function")(0, activation="gelu"), views),
    ]
    for function, arguments in cases:
        assert torch.equal(pickle.loads(pickle.dumps(function))(*arguments), function(*arguments))
