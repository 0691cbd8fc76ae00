"""The old functions that add health checks, a stable loss and checkpointing to a module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from model.IntegrateGradientHealthChecks import (
    EnhancedTrainingMixin,
    add_gradient_checkpointing,
    integrate_health_checks,
    replace_loss_function_with_stable_version,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")


class Monitored(EnhancedTrainingMixin, nn.Linear):
    """Two weights with the gradient (3, 4), and the figures that were logged."""

    def __init__(self, monitors: bool = True) -> None:
        super().__init__(2, 1, bias=False)
        self.logged: dict[str, float] = {}
        self.setup_gradient_monitoring(monitors)
        self.weight.grad = torch.tensor([[3.0, 4.0]])

    def log(self, name: str, value: float) -> None:
        self.logged[name] = value


def test_a_check_between_backward_and_step():
    module, loss = Monitored(), torch.tensor(1.0)
    result = integrate_health_checks(module, loss, 3, max_grad_norm=0.5)
    assert set(result) == {"loss", "gradient_stats"}
    assert result["loss"] is loss
    assert result["gradient_stats"]["global_grad_norm"] == 5.0
    assert module.logged == {"grad/global_norm": 5.0, "grad/has_nan": 0.0, "grad/has_inf": 0.0}
    torch.testing.assert_close(module.weight.grad, torch.tensor([[0.3, 0.4]]))
    assert module.gradient_monitor.gradient_history["global_norm"] == [5.0]


def test_only_exploding_gradients_are_clipped_where_clipping_is_off():
    module = Monitored()
    integrate_health_checks(module, torch.tensor(1.0), 0, False)
    assert torch.equal(module.weight.grad, torch.tensor([[3.0, 4.0]]))
    module.weight.grad *= 100
    integrate_health_checks(module, torch.tensor(1.0), 1, False)
    torch.testing.assert_close(module.weight.grad, torch.tensor([[0.6, 0.8]]))
    module.weight.grad[0, 0] = torch.inf
    assert integrate_health_checks(module, torch.tensor(1.0), 2, False)["gradient_stats"]["has_inf"]
    assert module.logged["grad/has_inf"] == 1.0


def test_a_module_without_a_monitor_gets_its_loss_back():
    for module in (nn.Linear(1, 1), Monitored(monitors=False)):
        assert integrate_health_checks(module, 2.0, 0) == {"loss": 2.0}
    switched_off = Monitored()
    switched_off.enable_gradient_monitoring = False
    assert integrate_health_checks(switched_off, 2.0, 0) == {"loss": 2.0, "gradient_stats": {}}
    assert switched_off.logged == {}


def test_a_stable_loss_replaces_another():
    from model.StableLossFunctions import get_stable_loss_function

    views = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    module = nn.Linear(1, 1)
    module.calculate_loss = sum
    replace_loss_function_with_stable_version(module, 2, eps=1e-3)
    assert module.calculate_loss_original is sum
    assert torch.equal(module.calculate_loss(*views), get_stable_loss_function(2, True, 1e-3)(*views))
    replace_loss_function_with_stable_version(module)
    assert module.calculate_loss_original is sum
    assert torch.equal(module.calculate_loss(*views), get_stable_loss_function(1)(*views))
    with pytest.raises(ValueError, match="module=Identity has no calculate_loss"):
        replace_loss_function_with_stable_version(nn.Identity())


class ResidualAttentionBlock(nn.Module):
    """A block that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp, self.dropout, self.calls = nn.Linear(4, 4), nn.Dropout(0.5), 0

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        self.calls += 1
        return x + scale * self.dropout(self.mlp(x).tanh())


class Net(nn.Module):
    """Two blocks in a list, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks, self.head = nn.ModuleList([ResidualAttentionBlock(), ResidualAttentionBlock()]), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x, scale=2.0)
        return self.head(x)


def gradients(net: nn.Module) -> list[torch.Tensor]:
    """The gradients of one step with the same random numbers for dropout."""
    torch.manual_seed(1)
    net(torch.ones(3, 4)).square().sum().backward()
    return [parameter.grad for parameter in net.parameters()]


@pytest.mark.parametrize(
    "words", [None, ["Attention"], ["blocks.0", "blocks.1"], ["blocks"], ["blocks", "ResidualAttentionBlock"]]
)
def test_blocks_are_computed_again_in_the_backward_pass(words):
    plain, net = Net(), Net()
    assert add_gradient_checkpointing(net, words) is net
    forwards = [block.forward for block in net.blocks]
    add_gradient_checkpointing(net, words)
    assert [block.forward for block in net.blocks] == forwards  # a second call changes nothing
    for ours, theirs in zip(gradients(net), gradients(plain), strict=True):
        assert torch.equal(ours, theirs)
    assert [block.calls for block in net.blocks] == [2, 2]
    assert [block.calls for block in plain.blocks] == [1, 1]


def test_a_transformer_and_the_layers_in_it():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    plain = nn.ModuleDict(
        {"transformer": nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), "head": nn.Linear(8, 1)}
    )
    net = add_gradient_checkpointing(copy.deepcopy(plain))
    runs = []
    net["transformer"].layers[0].norm1.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    for model in (plain, net):
        model["head"](model["transformer"](torch.linspace(-1, 1, 24).reshape(1, 3, 8))).sum().backward()
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert len(runs) > 1
    assert set(net.state_dict()) == set(plain.state_dict())


def test_only_the_named_submodules_are_computed_again():
    net = add_gradient_checkpointing(Net(), ["blocks.1"])
    gradients(net)
    assert [block.calls for block in net.blocks] == [1, 2]


def test_a_warning_for_names_that_no_submodule_has():
    with pytest.warns(UserWarning, match="no submodule's dotted name or class name contains one of encoder, tower"):
        add_gradient_checkpointing(Net(), ["encoder", "tower"])
