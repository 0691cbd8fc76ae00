"""Reads the trained model of a run: finds the checkpoint, and builds encoder and tokeniser from it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.checkpoint.files import BEST, LAST, NotACheckpoint, checkpoint_path, read_checkpoint
from model.data.tokenizer import load_tokenizer, special_tokens, tokenizer_name
from model.errors import ConfigError, first_line, one_of
from model.losses.make import FORMULAS, check_formula
from model.trained.settings import TrainedSettings, read_settings
from model.trained.trained_model import TrainedModel
from model.views.backbone_sizes import resolved_sizes
from model.views.encoder import ViewEncoder
from model.views.recipes import plan_views

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# The names of the encoder's weights in a checkpoint begin with this.
ENCODER = "encoder."


def load_run(run: Path, device: str = "cpu", dtype: str = "float32") -> TrainedModel:
    """Returns the trained model of the run or checkpoint at `run`. Arguments and errors: see `model.load`."""
    one_of("dtype", dtype, tuple(DTYPES))
    place = checked_device(device)
    path = find_trained(run)
    checkpoint = read_checkpoint(path)
    settings = read_settings(checkpoint, path)
    tokenizer = run_tokenizer(settings, path)
    encoder = build_encoder(settings, tokenizer)
    load_encoder(encoder, checkpoint["state_dict"], path)
    return TrainedModel(
        encoder.to(place, DTYPES[dtype]).eval().requires_grad_(False),
        tokenizer,
        settings,
        path,
        logit_scale=stored_scale(checkpoint["state_dict"], path),
        logit_bias=stored_bias(checkpoint["state_dict"]),
    )


def find_trained(run: Path) -> Path:
    """Returns the checkpoint file that `run` means: the file itself, or best.ckpt of the run in the folder, or
    last.ckpt if there is no best.ckpt. Raises ConfigError if there is none.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise ConfigError(f"{run} does not exist; allowed: the folder of a run, or a file in its folder checkpoints/")
    best, last = checkpoint_path(run, BEST), checkpoint_path(run, LAST)
    if best.is_file():
        return best
    if not last.is_file():
        raise ConfigError(
            f"{run} has neither {best.relative_to(run)} nor {last.relative_to(run)}; allowed: the folder of a run that "
            f"has written a checkpoint"
        )
    log.warning("%s has no %s: the weights are those of %s", run, best.name, last.name)
    return last


def checked_device(device: str) -> torch.device:
    """Returns the device. Raises ConfigError if torch does not know it or this machine does not have it."""
    try:
        place = torch.device(device)
        torch.zeros((), device=place)
    except Exception as error:  # each kind of device raises errors of its own
        raise ConfigError(
            f"device={device} cannot be used here ({first_line(error)[:100]}); allowed: cpu, or a GPU of this machine, "
            f"such as cuda or cuda:0"
        ) from error
    return place


def run_tokenizer(settings: TrainedSettings, path: Path) -> PreTrainedTokenizerBase:
    """Returns the tokeniser of the run that wrote the checkpoint at `path`: the one that its configuration names, or
    the one that it has trained. Raises ConfigError if it cannot be read.
    """
    named = tokenizer_name(settings.data.get("tokenizer"), settings.backbone.pretrained)
    if named:
        return load_tokenizer(named)
    own = path.parent.parent / "tokenizer"
    if not own.is_dir():
        raise ConfigError(
            f"{path} needs the tokeniser of its run, and {own} does not exist; allowed: a checkpoint in the folder of "
            f"its run"
        )
    return load_tokenizer(str(own))


def build_encoder(settings: TrainedSettings, tokenizer: PreTrainedTokenizerBase) -> ViewEncoder:
    """Returns the encoder of the run, not yet with its weights. The random numbers of torch's generator stay the same.

    Raises ConfigError if the pretrained model that the run started from cannot be read.
    """
    model, loss = settings.model, settings.loss
    reads = None
    if loss.get("function") is None:
        check_formula(loss["name"], str(loss.get("family")))
        reads = FORMULAS[loss["name"]].reads
    with torch.random.fork_rng(devices=[]):
        return ViewEncoder(
            plan_views(model["name"], model["captions"], reads),
            resolved_sizes(settings.backbone),
            special_tokens(tokenizer),
            projection=model["projection"],
            token_select=model.get("token_select", "softmax"),
            eot_select=model.get("eot_select", "argmax"),
        )


def load_encoder(encoder: ViewEncoder, weights: Mapping[str, Tensor], path: Path) -> None:
    """Loads the encoder's weights from those of a checkpoint. Raises ConfigError, which names the first difference, if
    they do not fit.
    """
    stored = {name.removeprefix(ENCODER): weight for name, weight in weights.items() if name.startswith(ENCODER)}
    wanted = encoder.state_dict()
    for name in [*wanted, *stored]:
        there, here = (tuple(group[name].shape) if name in group else "missing" for group in (stored, wanted))
        if there != here:
            raise NotACheckpoint(path, f"{name} is {there} in it, and {here} in the model of its configuration")
    encoder.load_state_dict(stored)


def stored_scale(weights: Mapping[str, Tensor], path: Path) -> float:
    """Returns the multiplier of the logits, which training keeps below its cap."""
    if "logit_scale" not in weights:
        raise NotACheckpoint(path, "it has no logit_scale")
    scale = math.exp(float(weights["logit_scale"]))
    return min(scale, float(weights["scale_cap"])) if "scale_cap" in weights else scale


def stored_bias(weights: Mapping[str, Tensor]) -> float | None:
    """Returns the bias of the logits that loss=siglip learns; None for other losses."""
    return float(weights["loss.bias"]) if "loss.bias" in weights else None
