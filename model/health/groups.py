"""Which parameters belong to which layer and which tower, by name. torch only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from model.health.stats import root_sum_square


@runtime_checkable
class Recorder(Protocol):
    """A module that takes figures for this step's row of metrics."""

    def record(self, values: dict[str, Tensor | float]) -> None:
        """Values may be 0-dimensional tensors on any device."""


@runtime_checkable
class Towered(Protocol):
    """A module that says which parameters make up which tower."""

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Tower -> its parameters."""


@runtime_checkable
class Viewed(Protocol):
    """A module that keeps the gradient of the loss with respect to each view's features."""

    def view_gradients(self) -> dict[str, Tensor]:
        """View -> norm of that gradient over the batches of this step, 0-dimensional."""


def tower_names(module: nn.Module) -> dict[str, list[str]]:
    """Tower -> names of its parameters: as the module says, else one tower per direct child."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    if isinstance(module, Towered):
        groups = module.gradient_groups().items()
        return {
            tower: [names[id(parameter)] for parameter in parameters if id(parameter) in names]
            for tower, parameters in groups
        }
    return grouped(names.values(), lambda name: name.split(".", 1)[0] if "." in name else None)


def layer_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Module path, joined by slashes so that a logger folds it -> names of the parameters that this module holds
    itself.
    """
    return grouped(names, lambda name: name.rpartition(".")[0].replace(".", "/") or name)


def grouped(names: Iterable[str], key) -> dict[str, list[str]]:
    """Names by key(name), in order; those whose key is None are left out."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if (group := key(name)) is not None:
            groups.setdefault(group, []).append(name)
    return groups


def group_norms(groups: Mapping[str, list[str]], norms: Mapping[str, float]) -> dict[str, float]:
    """Group -> norm of its members' gradients as one vector; groups without a gradient are left out."""
    present = {group: [norms[name] for name in members if name in norms] for group, members in groups.items()}
    return {group: root_sum_square(values) for group, values in present.items() if values}
