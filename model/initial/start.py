"""Starts a new run from the weights of `init_from`, and keeps them beside the run as initial.pt."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from model.config.schema import BackboneConfig, RunConfig
from model.data.tokenizer import tokenizer_name
from model.errors import RunFailed, first_line
from model.initial.fit import READ_TOKENS, TowerReport, compare_towers, copy_towers, require_towers
from model.initial.source import KEY, InitialWeights
from model.initial.tokenizer import other_tokens
from model.launch import first_process
from model.record.disk import writing
from model.record.files import link_or_copy, replacing
from model.record.folder import INITIAL
from model.training.logit_scale import LogitScaleMixin

log = logging.getLogger(__name__)
# The names of the towers that analysis.cka compares begin with this.
TOWERS = "encoder.towers."


def begin(
    config: RunConfig,
    sizes: BackboneConfig,
    folder: Path,
    module: LogitScaleMixin,
    tokenizer: PreTrainedTokenizerBase,
    initial: InitialWeights | None,
) -> None:
    """Gives the module of a new run the weights `initial`, if there are any, and keeps them in its folder. Warns of
    frozen towers with random weights.
    """
    loaded: set[str] = set()
    if initial is not None:
        reports = load_initial_weights(config, sizes, module, tokenizer, initial)
        loaded = {report.tower for report in reports if report.problem is None}
        if first_process() and not config.trainer.fast_dev_run:
            keep_initial_weights(folder, module, initial.named, reports)
    warn_of_random_towers(config, loaded)


def load_initial_weights(
    config: RunConfig,
    sizes: BackboneConfig,
    module: LogitScaleMixin,
    tokenizer: PreTrainedTokenizerBase,
    initial: InitialWeights,
) -> list[TowerReport]:
    """Copies the weights of every tower that fits into `module`, in which they are float32, and returns what was found.

    sizes: of the backbone. Every process of a run reads the same weights; the first one logs the list of towers.
    Raises ConfigError if there is no tower for this run.
    """
    reports = compare_towers(initial, module.state_dict(), vars(sizes), refusals(config, tokenizer, initial))
    require_towers(initial, reports)
    copy_towers(module, initial.weights, reports)
    module.limit_scale()
    if first_process():
        file = "" if str(initial.file) == initial.named else f" ({initial.file})"
        lines = [f"{report.tower}: {report.text}" for report in reports]
        log.info("%s", "\n  ".join([f"first weights from {KEY}={initial.named}{file}", *lines]))
    return reports


def refusals(config: RunConfig, tokenizer: PreTrainedTokenizerBase, initial: InitialWeights) -> dict[str, str]:
    """Returns tower -> why it cannot be loaded, as a clause, for the towers whose weights mean nothing here."""
    named = tokenizer_name(config.data.tokenizer, config.backbone.pretrained)
    tokens = other_tokens(initial, tokenizer, named)
    refused = dict.fromkeys(READ_TOKENS, tokens) if tokens is not None else {}
    here = config.loss.function or config.loss.name
    if config.loss.scale_init == "auto":
        refused["logit_scale"] = "loss.scale_init=auto chooses it from the first batch"
    elif initial.loss is None:
        refused["logit_scale"] = "its loss is not known"
    elif initial.loss != here:
        refused["logit_scale"] = f"it multiplied the scores of loss={initial.loss}, not those of loss={here}"
    return refused


def warn_of_random_towers(config: RunConfig, loaded: set[str]) -> None:
    """Logs a warning for frozen towers that keep random weights. loaded: the towers with weights of init_from."""
    known = loaded | ({"image", "text"} if config.backbone.pretrained else set()) | {"projection"}
    random = [name for name in config.backbone.freeze if name not in known]
    if random and first_process():
        log.warning(
            "backbone.freeze=[%s] keeps random weights; init_from or backbone.pretrained gives trained ones",
            ",".join(random),
        )


def keep_initial_weights(folder: Path, module: nn.Module, named: str, reports: list[TowerReport]) -> None:
    """Writes the weights of the loaded CLIP towers to initial.pt in the folder of the run: the initial weights that
    analysis.cka compares with, also when the run is continued or evaluated and the source of the weights is gone.
    named: the value of init_from.
    """
    state, path = module.state_dict(), folder / INITIAL
    loaded = (name for report in reports if report.problem is None for name in report.names)
    weights = {name: state[name] for name in loaded if name.startswith(TOWERS)}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            towers = {report.tower: report.text for report in reports}
            torch.save({KEY: named, "towers": towers, "weights": weights}, file)


def take_over_initial_weights(folder: Path, earlier: Path) -> None:
    """Makes the initial.pt of the run in `earlier`, which the run in `folder` continues, a file of `folder` too."""
    if (earlier / INITIAL).is_file() and not (folder / INITIAL).exists():
        folder.mkdir(parents=True, exist_ok=True)
        link_or_copy(earlier / INITIAL, folder / INITIAL)


def kept_weights(folder: Path, named: str | None) -> tuple[dict[str, Tensor], str | None]:
    """Returns the weights in initial.pt of `folder`, by their names in `Towers.state_dict`, and the value of init_from
    of its run; no weights for a run without init_from. named: the value of init_from here. Raises RunFailed if the file
    is missing or cannot be read.
    """
    if named is None and not (folder / INITIAL).is_file():
        return {}, None
    try:
        kept = torch.load(folder / INITIAL, map_location="cpu", weights_only=True)
        return {name.removeprefix(TOWERS): weight for name, weight in kept["weights"].items()}, kept[KEY]
    except Exception as error:  # torch's readers raise many kinds of errors for a damaged file
        raise RunFailed(f"{folder / INITIAL}, the initial weights, cannot be read ({first_line(error)})") from error
