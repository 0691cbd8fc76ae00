"""Finds, reads and checks checkpoint files."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from model.config.identity import INTRODUCED
from model.errors import ConfigError, first_line
from model.record.folder import CHECKPOINTS

LAST = "last"
PREVIOUS = "previous"
"""The checkpoint before LAST."""
BEST = "best"
# The names of an encoder-decoder's weights contain this.
TRANSLATOR_PART = ".marian."
# The entries of a checkpoint that every run of this program writes, with their types.
ENTRIES = {"state_dict": dict, "callbacks": dict, "optimizer_states": list, "scale_due": bool, "epoch_loss": dict}


class Encoder(Protocol):
    """The part of the model's encoder that is compared with a checkpoint."""

    architecture: dict[str, str]
    """`translator_norm`: where the norms of the encoder-decoder stand, `pre` or `post`."""


class NotACheckpoint(ConfigError):
    """This file cannot be used to resume or evaluate a run."""

    def __init__(self, path: Path, reason: str) -> None:
        """reason: why, as a clause."""
        self.reason = reason
        super().__init__(
            f"ckpt_path={path} is not a checkpoint of this program ({reason}); allowed: a file in the folder "
            f"checkpoints/ of a run"
        )


def checkpoint_path(folder: Path, name: str) -> Path:
    """Returns the path of a checkpoint of the run in `folder`. name: LAST, PREVIOUS or BEST."""
    return folder / CHECKPOINTS / f"{name}.ckpt"


def find_checkpoint(folder: Path, ckpt_path: str) -> Path:
    """Returns the path for a value of ckpt_path. Raises ConfigError if there is no such file.

    ckpt_path: `last` or `best`, which mean the checkpoints of the run in `folder`, or the path of a file.
    """
    path = checkpoint_path(folder, ckpt_path) if ckpt_path in (LAST, BEST) else Path(ckpt_path)
    if not path.is_file():
        where = f" in {path.parent}" if ckpt_path in (LAST, BEST) else ""
        raise ConfigError(
            f"ckpt_path={ckpt_path} does not exist{where}; allowed: a file, or last or best with "
            f"hydra.run.dir=<folder of the run>"
        )
    return path


def read_checkpoint(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Reads a checkpoint that this program wrote to `path`. It contains plain data only: nothing in the file is
    executed.

    mapped: whether to map the tensors into memory instead of reading them. Raises NotACheckpoint if the file cannot be
    read or is not a checkpoint of this program.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch's readers raise many kinds of errors for a damaged or foreign file
        reason = first_line(error)
        reason = "it holds more than plain data" if isinstance(error, UnpicklingError) else reason[:100]
        raise NotACheckpoint(path, reason) from error
    for key, kind in ENTRIES.items():
        if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), kind)):
            raise NotACheckpoint(path, f"it has no {key}")
    if not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in checkpoint["state_dict"].items()
    ):
        raise NotACheckpoint(path, "its state_dict holds values that are not weights")
    return checkpoint


def load_weights(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """Returns the weights in the checkpoint at `path`. Raises ConfigError, which names the first difference, if they do
    not fit `module`.
    """
    checkpoint = read_checkpoint(path)
    weights = checkpoint["state_dict"]
    if any(TRANSLATOR_PART in name for name in weights.keys() & module.state_dict().keys()):
        architecture = cast(Encoder, module.encoder).architecture  # nn.Module hides the types of attributes from mypy
        refuse_other_norm(path, checkpoint.get("architecture", {}), architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in [*wanted, *shapes]:
        if shapes.get(name) != wanted.get(name):
            problem = (
                f"{name} is {shapes.get(name, 'missing')} in the checkpoint and {wanted.get(name, 'missing')} here"
            )
            raise ConfigError(
                f"ckpt_path={path} belongs to another model: {problem}; allowed: a checkpoint of the same model=, "
                f"backbone= and loss="
            )
    return weights


def refuse_other_norm(path: Path, there: dict[str, str], here: dict[str, str]) -> None:
    """Raises ConfigError if the encoder-decoder of the checkpoint has its norms in other places. Older checkpoints do
    not store the place; theirs is `post`.
    """
    key = "translator_norm"
    trained = there.get(key, INTRODUCED[f"backbone.{key}"])
    if here[key] != trained:
        problem = f"ckpt_path={path} was trained with backbone.{key}={trained}, here it is {here[key]}"
        raise ConfigError(f"{problem}; allowed: backbone.{key}={trained} with this checkpoint")


def hash_in_checkpoint(path: Path) -> str | None:
    """Returns the hash of the configuration in the checkpoint at `path`; does not read the tensors."""
    callbacks = read_checkpoint(path, mapped=True)["callbacks"]
    return next((state["config_hash"] for state in callbacks.values() if "config_hash" in state), None)


def initial_seed(path: Path, default: int) -> int:
    """Returns the seed of the initial weights of the run that wrote the checkpoint at `path`; `default` if the
    checkpoint does not store it.
    """
    return read_checkpoint(path, mapped=True).get("initial_seed", default)
