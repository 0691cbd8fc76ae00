"""The settings of a run that determine its trained model, from its checkpoint or from its configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from model.config.identity import INTRODUCED
from model.config.nested import value_at
from model.config.schema import BackboneConfig
from model.data.source import SYMMETRIC
from model.data.squares import CLIP_PIXELS
from model.errors import ConfigError, first_line

Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and deviation of each colour, as fractions of 255."""
# The data source -> the normalisation of its pixels, for checkpoints that do not store it.
NORMALIZATIONS: dict[str, Normalization] = {"scenes": SYMMETRIC, "emoji": SYMMETRIC, "coco": CLIP_PIXELS}
# The entry of a checkpoint with the state of the data: the name of the class of the data module.
DATA_STATE = "CaptionData"
# The keys of these groups that a trained model reads, in all versions.
READ = {"model": ("captions", "projection"), "loss": ("normalize", "eps"), "data": (), "backbone": ()}
# Keys of the backbone that a trained model does not read.
TRAINING_ONLY = ("lr",)


@dataclass(frozen=True)
class TrainedSettings:
    """What a trained model needs to know of its run."""

    model: Mapping[str, Any]
    """The group `model` of the configuration."""
    backbone: BackboneConfig
    loss: Mapping[str, Any]
    """The group `loss`."""
    data: Mapping[str, Any]
    """The group `data`."""
    seed: int
    normalization: Normalization


def read_settings(checkpoint: Mapping[str, Any], path: Path) -> TrainedSettings:
    """Returns the settings of the run that wrote `checkpoint`, the content of the file `path`. Raises ConfigError if
    they are not known.

    Checkpoints of early versions store no configuration; then the configuration file in the run's folder is read.
    """
    states = checkpoint["callbacks"].values()
    config = next((state["config"] for state in states if isinstance(state.get("config"), dict)), None)
    config = read_file(path) if config is None else config
    groups = {group: group_of(config, group, path) for group in READ}
    return TrainedSettings(
        model=groups["model"],
        backbone=backbone_of(groups["backbone"], path),
        loss=groups["loss"],
        data=groups["data"],
        seed=config.get("seed", 0),
        normalization=normalization_of(checkpoint, groups["data"]["name"], path),
    )


def read_file(path: Path) -> Mapping[str, Any]:
    """Returns the configuration in the folder of the run to which the checkpoint at `path` belongs."""
    file = path.parent.parent / ".hydra" / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ConfigError(
            f"{path} stores no configuration, and {file} cannot be read ({reason}); allowed: a checkpoint in the "
            f"folder of its run"
        ) from error
    return config if isinstance(config, dict) else {}


def group_of(config: Mapping[str, Any], group: str, path: Path) -> Mapping[str, Any]:
    """Returns a group of the configuration, with the keys that it did not have yet when the run began."""
    values = config.get(group)
    values = values if isinstance(values, dict) else {}
    missing = [key for key in ("name", *READ[group]) if values.get(key) is None]
    if missing:
        raise ConfigError(
            f"{path} has a configuration without {group}.{missing[0]}; allowed: a checkpoint of this program"
        )
    later = {key.partition(".")[2]: value for key, value in INTRODUCED.items() if key.startswith(f"{group}.")}
    return later | values


def backbone_of(values: Mapping[str, Any], path: Path) -> BackboneConfig:
    """Returns the group `backbone`. Raises ConfigError if a key is missing."""
    names = [field.name for field in fields(BackboneConfig)]
    missing = [name for name in names if name not in values and name not in TRAINING_ONLY]
    if missing:
        raise ConfigError(
            f"{path} has a configuration without backbone.{missing[0]}; allowed: a checkpoint of this program"
        )
    return BackboneConfig(**{name: values[name] for name in names if name in values})


def normalization_of(checkpoint: Mapping[str, Any], source: str, path: Path) -> Normalization:
    """Returns the normalisation of the pixels with which the run trained. source: the value of data.name."""
    stored = value_at(checkpoint, (DATA_STATE, "normalization"))
    if stored is not None:
        mean, deviation = stored
        return tuple(mean), tuple(deviation)
    if source not in NORMALIZATIONS:
        raise ConfigError(
            f"{path} does not store how data.name={source} normalises pixels; allowed: a checkpoint that does, or one "
            f"of data.name={', '.join(NORMALIZATIONS)}"
        )
    return NORMALIZATIONS[source]
