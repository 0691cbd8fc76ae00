"""Groups parameters by layer and by tower, from their names. torch only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from model.health.stats import root_sum_square


@runtime_checkable
class MetricRecorder(Protocol):
    """A module that adds figures to this step's row of metrics."""

    def record(self, values: dict[str, Tensor | float]) -> None:
        """Adds figures by metric name. Values may be 0-dimensional tensors on any device."""


@runtime_checkable
class TowerModule(Protocol):
    """A module that names its towers."""

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the parameters of each tower."""


@runtime_checkable
class ViewModule(Protocol):
    """A module that keeps the gradient of the loss with respect to the features of each view."""

    def view_gradients(self) -> dict[str, Tensor]:
        """Returns the norm of that gradient over the batches of this step for each view, 0-dimensional."""


def tower_names(module: nn.Module) -> dict[str, list[str]]:
    """Returns the names of the parameters of each tower: as the module defines them, else one tower for each direct
    child.
    """
    if isinstance(module, TowerModule):
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        return {
            tower: [names[id(parameter)] for parameter in parameters if id(parameter) in names]
            for tower, parameters in module.gradient_groups().items()
        }
    return group_names(
        (name for name, _ in module.named_parameters()), lambda name: name.split(".", 1)[0] if "." in name else None
    )


def layer_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the names of the parameters that each module holds itself, by module path.

    The path is joined by slashes, so that loggers group its metrics.
    """
    return group_names(names, lambda name: name.rpartition(".")[0].replace(".", "/") or name)


def group_names(names: Iterable[str], key: Callable[[str], str | None]) -> dict[str, list[str]]:
    """Groups names by key(name), in order. Leaves out names whose key is None."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if (group := key(name)) is not None:
            groups.setdefault(group, []).append(name)
    return groups


def group_norms(groups: Mapping[str, list[str]], norms: Mapping[str, float]) -> dict[str, float]:
    """Returns, for each group, the norm of its gradients as one vector. Leaves out groups without a gradient."""
    present = {group: [norms[name] for name in members if name in norms] for group, members in groups.items()}
    return {group: root_sum_square(values) for group, values in present.items() if values}
