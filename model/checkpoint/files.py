"""Where a run's checkpoints lie, and how they are found by the user's words."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from model.config.identity import INTRODUCED
from model.errors import ConfigError, first_line

LAST = "last"
PREVIOUS = "previous"
"""The last one before LAST."""
BEST = "best"
# In the names of an encoder-decoder's weights.
TRANSLATOR_PART = ".marian."


class NotACheckpoint(ConfigError):
    """No run can be continued from this file or evaluated with it."""

    def __init__(self, path: Path, reason: str) -> None:
        """reason: why, in words."""
        self.reason = reason
        super().__init__(
            f"ckpt_path={path} is no checkpoint of this program ({reason}); allowed: a file of checkpoints/ in a "
            f"run's folder"
        )


def checkpoint_path(folder: Path, name: str) -> Path:
    """`name`: LAST, PREVIOUS or BEST, of the run in `folder`."""
    return folder / "checkpoints" / f"{name}.ckpt"


def find_checkpoint(folder: Path, asked: str) -> Path:
    """`asked`: `last` or `best` (of the run in `folder`) or a file. Raises ConfigError where there is none."""
    path = checkpoint_path(folder, asked) if asked in (LAST, BEST) else Path(asked)
    if not path.is_file():
        where = f" in {path.parent}" if asked in (LAST, BEST) else ""
        raise ConfigError(
            f"ckpt_path={asked} is not there{where}; allowed: a file, or last or best with hydra.run.dir=<folder of "
            f"the run>"
        )
    return path


def read_checkpoint(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """What a run of this program wrote to `path`; `mapped`: without reading its tensors. Plain data only: nothing in
    the file is executed.

    Raises NotACheckpoint where the file cannot be read, or is something else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or foreign file fails anywhere in torch's readers, with errors of many kinds
        reason = first_line(error)
        reason = "it holds more than plain data" if isinstance(error, UnpicklingError) else reason[:100]
        raise NotACheckpoint(path, reason) from error
    for key, kind in (
        ("state_dict", dict),
        ("callbacks", dict),
        ("optimizer_states", list),
        ("scale_due", bool),
        ("epoch_loss", dict),
    ):
        if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), kind)):
            raise NotACheckpoint(path, f"it has no {key}")
    if not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in checkpoint["state_dict"].items()
    ):
        raise NotACheckpoint(path, "its state_dict holds other things than weights")
    return checkpoint


def load_weights(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The weights in the checkpoint at `path`. Raises ConfigError where they are not those of `module`, an NWayClip,
    naming the first difference.
    """
    checkpoint = read_checkpoint(path)
    weights = checkpoint["state_dict"]
    if any(TRANSLATOR_PART in name for name in weights.keys() & module.state_dict().keys()):
        refuse_other_norm(path, checkpoint.get("architecture", {}), module.encoder.architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in [*wanted, *shapes]:
        if shapes.get(name) != wanted.get(name):
            problem = f"{name} is {shapes.get(name, 'missing')} there and {wanted.get(name, 'missing')} here"
            raise ConfigError(
                f"ckpt_path={path} belongs to another model: {problem}; allowed: a checkpoint of the same model=, "
                f"backbone= and loss="
            )
    return weights


def refuse_other_norm(path: Path, there: dict[str, str], here: dict[str, str]) -> None:
    """Raises ConfigError where the encoder-decoder of the checkpoint normalises elsewhere; a checkpoint that does not
    say has `post`.
    """
    key = "translator_norm"
    found = there.get(key, INTRODUCED[f"backbone.{key}"])
    if here[key] != found:
        problem = f"ckpt_path={path} was trained with backbone.{key}={found}, here it is {here[key]}"
        raise ConfigError(f"{problem}; allowed: backbone.{key}={found} beside this checkpoint")


def hash_in_checkpoint(path: Path) -> str | None:
    """Hash of the configuration that the checkpoint at `path` was made with; its tensors are not read."""
    callbacks = read_checkpoint(path, mapped=True)["callbacks"]
    return next((state["config_hash"] for state in callbacks.values() if "config_hash" in state), None)


def initial_seed(path: Path, default: int) -> int:
    """The seed that the weights in the checkpoint at `path` were drawn with; `default` where it does not say."""
    return read_checkpoint(path, mapped=True).get("initial_seed", default)
