"""The parameters of each tower: which of them are trained, and with which learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from model.errors import ConfigError, not_known
from model.views.encoder import ViewEncoder

# The tower's name in a parameter group of the optimizer, for groups with a rate of their own.
TOWER = "tower"


def all_parameters(encoder: ViewEncoder) -> dict[str, list[nn.Parameter]]:
    """Returns the parameters of `image`, `text`, `translator` and `projection`, frozen ones included; without the
    towers that have none.
    """
    found = {
        name: [parameter for module in modules for parameter in module.parameters()]
        for name, modules in encoder.tower_modules().items()
    }
    return {name: parameters for name, parameters in found.items() if parameters}


def tower_parameters(encoder: ViewEncoder) -> dict[str, list[nn.Parameter]]:
    """Returns the trained parameters of `image`, `text`, `translator` and `projection`; without the towers that have
    none.
    """
    trained = {name: [p for p in parameters if p.requires_grad] for name, parameters in all_parameters(encoder).items()}
    return {name: parameters for name, parameters in trained.items() if parameters}


def freeze_towers(encoder: ViewEncoder, names: Sequence[str]) -> None:
    """Freezes the towers `names`: their parameters get no gradient, and their modules drop nothing.

    Raises ConfigError for a tower that the encoder does not have, and if no tower would be trained.
    """
    present = all_parameters(encoder)
    for name in names:
        if name not in present:
            raise not_known("backbone.freeze", name, tuple(present))
    if names and set(names) >= set(present):
        raise ConfigError(
            f"backbone.freeze=[{','.join(names)}] leaves no tower to train; allowed: at most {len(present) - 1} of "
            f"{', '.join(present)}"
        )
    for parameter in (parameter for name in names for parameter in present[name]):
        parameter.requires_grad_(False)
    encoder.freeze(names)


def scaled_parameters(
    encoder: ViewEncoder, logit_scale: nn.Parameter, names: Sequence[str]
) -> dict[str, list[nn.Parameter]]:
    """Returns the trained parameters of the towers `names`, which optimizer.lr_scale names; `logit_scale` is one of
    them. Raises ConfigError for a name without trained parameters.
    """
    trained = tower_parameters(encoder) | ({"logit_scale": [logit_scale]} if logit_scale.requires_grad else {})
    for name in names:
        if name not in trained:
            raise not_known("optimizer.lr_scale", name, tuple(trained))
    return {name: trained[name] for name in names}


def rate_columns(optimizer: Optimizer, scales: Mapping[str, float], towers: Sequence[str]) -> dict[str, float]:
    """Returns the current learning rate as `train/lr`; with `scales`, the value of optimizer.lr_scale, also the rate of
    each trained tower as `train/lr_<tower>`. towers: the names of the trained towers.
    """
    own = {group[TOWER]: group["lr"] for group in optimizer.param_groups if TOWER in group}
    shared = [group["lr"] for group in optimizer.param_groups if TOWER not in group]
    rate = shared[0] if shared else next(own[name] / scales[name] for name in own)
    named = dict.fromkeys((*towers, *scales)) if scales else {}
    return {"train/lr": rate} | {f"train/lr_{name}": own.get(name, rate) for name in named}
