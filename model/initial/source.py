"""Reads the weights that `init_from` names: of a run, of a checkpoint file, or of a CLIP model of transformers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint.files import BEST, LAST, NotACheckpoint, checkpoint_path, read_checkpoint
from model.checkpoint.healing import damage
from model.config.identity import INTRODUCED
from model.config.nested import value_at
from model.errors import ConfigError
from model.record.folder import CHECKPOINTS
from model.views.backbone_sizes import pretrained_sizes
from model.views.towers import Towers, read_clip

KEY = "init_from"
# The file that every model of transformers has, and files of which a tokeniser of transformers has at least one.
MODEL_FILE = "config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
# Keys of conf/backbone that change what weights compute and that the shapes of the weights do not show.
OF_TOWERS = ("vision_heads", "text_heads", "activation")
OF_TRANSLATOR = ("translator_heads", "translator_activation")
ALLOWED = "the folder of a run, a checkpoint file (.ckpt) of a run, or the folder of a CLIP model of transformers"


@dataclass(frozen=True)
class InitialWeights:
    """Weights that a run can start from, and what is known about the model that they were trained in."""

    named: str
    """The value of init_from."""
    file: Path
    """The file or folder that was read."""
    weights: dict[str, Tensor]
    """The names are those of `NWayClip.state_dict`."""
    sizes: dict[str, Any] = field(default_factory=dict)
    """Keys of conf/backbone -> their values, as far as they are known."""
    loss: str | None = None
    """The name of the loss that trained the weights (of loss=own: the function); None if it is not known."""
    tokenizer: str | None = None
    """The hub id or folder of the tokeniser; None if it is not known."""


def read_initial_weights(named: str) -> InitialWeights:
    """Reads what `named`, the value of init_from, names. Draws no random number of the run.

    Of a run, best.ckpt is read, or last.ckpt if there is no best.ckpt. Raises ConfigError if there is no such file or
    folder, or if it cannot be read.
    """
    path = Path(named)
    if path.is_file():
        return from_checkpoint(named, path)
    for name in (BEST, LAST):
        if checkpoint_path(path, name).is_file():
            return from_checkpoint(named, checkpoint_path(path, name))
    if (path / MODEL_FILE).is_file():
        with torch.random.fork_rng():  # transformers draws the weights that the folder lacks
            return from_transformers(named, path)
    problem = "holds no checkpoint and no CLIP model" if path.is_dir() else "does not exist"
    raise ConfigError(f"{KEY}={named} {problem}; allowed: {ALLOWED}")


def from_checkpoint(named: str, path: Path) -> InitialWeights:
    """Reads the checkpoint at `path` as plain data, after a comparison of its checksums."""
    reason = damage(path)
    try:
        checkpoint = read_checkpoint(path, mapped=True) if reason is None else {}
    except NotACheckpoint as error:
        reason = error.reason
    if reason is not None:
        file = "" if Path(named) == path else f": {path}"
        raise ConfigError(f"{KEY}={named}{file} is not a checkpoint of this program ({reason}); allowed: {ALLOWED}")
    states = checkpoint["callbacks"].values()
    config: dict[str, Any] = next((state["config"] for state in states if state.get("config")), {})
    return InitialWeights(
        named,
        path,
        checkpoint["state_dict"],
        sizes_of(config.get("backbone", {}), checkpoint.get("architecture", {})),
        loss_name(config["loss"]) if "loss" in config else None,
        tokenizer_of(config, path),
    )


def sizes_of(backbone: dict[str, Any], architecture: dict[str, str]) -> dict[str, Any]:
    """Returns the known keys of conf/backbone that the shapes of weights do not show.

    backbone: its configuration, empty if it is not known; architecture: what the checkpoint records about the
    encoder-decoder.
    """
    # The sizes of a pretrained backbone are not those of its configuration.
    keys = OF_TRANSLATOR if backbone.get("pretrained") else (*OF_TOWERS, *OF_TRANSLATOR)
    place = "translator_norm"
    return {key: backbone[key] for key in keys if key in backbone} | {
        place: architecture.get(place, INTRODUCED[f"backbone.{place}"])
    }


def loss_name(loss: dict[str, Any]) -> str:
    """Returns the name of a loss of the configuration, or the function of loss=own."""
    return loss.get("function") or loss["name"]


def tokenizer_of(config: dict[str, Any], path: Path) -> str | None:
    """Returns the folder of the tokeniser that the run of a checkpoint at `path` trained, or the name of the one that
    its configuration names; None if neither is known.
    """
    trained = path.parent.parent / "tokenizer"
    if path.parent.name == CHECKPOINTS and trained.is_dir():
        return str(trained)
    return value_at(config, ("data", "tokenizer")) or value_at(config, ("backbone", "pretrained"))


def from_transformers(named: str, path: Path) -> InitialWeights:
    """Reads the folder of a CLIP model of transformers, without the weights that the folder lacks."""
    sizes = pretrained_sizes(named, KEY)
    clip, loading = read_clip(named, KEY)
    towers = {f"encoder.towers.{name}": weight for name, weight in Towers(clip).state_dict().items()}
    absent = {renamed(name) for name in loading["missing_keys"]}
    weights = {name: weight for name, weight in towers.items() if name not in absent}
    if "logit_scale" not in absent:
        weights["logit_scale"] = clip.logit_scale.detach()
    has_tokenizer = any((path / name).is_file() for name in TOKENIZER_FILES)
    return InitialWeights(
        named, path, weights, {key: sizes[key] for key in OF_TOWERS}, "stock", named if has_tokenizer else None
    )


def renamed(name: str) -> str:
    """Returns the name in `NWayClip.state_dict` of a weight of transformers' CLIPModel."""
    if name == "logit_scale":
        return name
    for theirs, ours in (("vision_model.", "vision."), ("text_model.", "text.")):
        name = ours + name.removeprefix(theirs) if name.startswith(theirs) else name
    return f"encoder.towers.{name}"
