"""Checks the keys that say which weights a run starts from and which of them it trains: init_from, backbone.freeze and
optimizer.lr_scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.config.identity import has_translator
from model.config.schema import RunConfig
from model.errors import ConfigError, not_known, one_of, require

# The parts of the encoder that have weights. The order is that of tables and messages.
TOWERS = ("image", "text", "translator", "projection")
SCALE = "logit_scale"
# The parts whose learning rate optimizer.lr_scale can multiply.
SCALED = (*TOWERS, SCALE)
# A larger multiplier is a typing mistake: optimizer.lr is the key of the rate itself.
LARGEST_SCALE = 1e6


def check_weights(config: RunConfig) -> None:
    """Raises ConfigError for unknown towers, for multipliers out of range, and for keys that have no effect."""
    frozen = config.backbone.freeze
    for name in frozen:
        one_of("backbone.freeze", name, TOWERS)
    once = len(set(frozen)) == len(frozen)
    require(once, "backbone.freeze", listed(frozen), "names a tower twice", f"each of {', '.join(TOWERS)} once")
    check_lr_scale(config.optimizer.lr_scale, frozen)
    check_present(config)
    if config.init_from is not None and not config.train and config.ckpt_path is None:
        raise ConfigError(
            f"init_from={config.init_from} gives the first weights of a run that trains, and train=false evaluates; "
            "allowed: ckpt_path=<checkpoint> with train=false"
        )


def check_present(config: RunConfig) -> None:
    """Raises ConfigError for towers that the model does not have, and if no tower would be trained.

    A loss that reads only the first views may need fewer towers; `freeze_towers` knows them when the run is built.
    """
    model = config.model
    present = ["image", "text"] + (["translator"] if has_translator(model.name) else [])
    present += ["projection"] if model.projection != "identity" else []
    for key, names in (("backbone.freeze", config.backbone.freeze), ("optimizer.lr_scale", config.optimizer.lr_scale)):
        for name in names:
            owner = f"is not part of model={model.name} with model.projection={model.projection}"
            require(name in (*present, SCALE), key, name, owner, ", ".join(present))
    everything = set(config.backbone.freeze) >= set(present)
    problem, allowed = "leaves no tower to train", f"at most {len(present) - 1} of {', '.join(present)}"
    require(not everything, "backbone.freeze", listed(config.backbone.freeze), problem, allowed)


def check_lr_scale(scales: dict[str, float], frozen: Sequence[str]) -> None:
    """Raises ConfigError for multipliers of unknown or frozen towers, and for multipliers out of range."""
    for name, value in scales.items():
        key = f"optimizer.lr_scale.{name}"
        if name not in SCALED:
            raise not_known("optimizer.lr_scale", name, SCALED)
        require(name not in frozen, key, value, "has no effect, because backbone.freeze freezes it", "no multiplier")
        allowed = f"a number above 0, up to {LARGEST_SCALE:g}" + (
            f", or backbone.freeze=[{name}]" if name in TOWERS else ""
        )
        require(isinstance(value, float) and value > 0, key, value, "is not a positive number", allowed)
        require(value <= LARGEST_SCALE, key, value, "is too large", allowed)


def listed(names: Sequence[str]) -> str:
    """Returns names as a list is typed on the command line."""
    return f"[{','.join(names)}]"
