"""From the configuration to the parts of a run: sizes, data, module. Names in the configuration become objects here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.config.checks import loss_options
from model.config.own_function import load_function
from model.config.schema import AnalysisConfig, BackboneConfig, LossConfig, RunConfig, TrainerConfig
from model.data import data_json, make_source
from model.data.module import CaptionData
from model.data.source import Source, SourceOptions
from model.data.tokenizer import count_truncated, special_tokens
from model.data.transforms import Transforms, changes_pictures
from model.errors import ConfigError
from model.initial.source import InitialWeights, read_initial_weights
from model.initial.start import begin, kept_weights, take_over_initial_weights
from model.initial.tokenizer import make_tokenizer
from model.launch import board, first_process
from model.losses.make import check_formula, make_loss
from model.module import NWayClip
from model.record.repairs import move_damaged
from model.training.tower_parameters import freeze_towers, scaled_parameters
from model.views.backbone_sizes import pretrained_sizes, resolved_sizes
from model.views.encoder import ViewEncoder
from model.views.recipes import plan_views
from model.views.towers import Towers, load_towers

log = logging.getLogger(__name__)
# Training samples whose captions are compared with the context length before training; python -m model.data.check
# compares the captions of all samples.
CHECKED_SAMPLES = 5_000
CKA_REFERENCE = "analysis.cka_reference"


@dataclass(frozen=True)
class Parts:
    """What a run trains with, built from its configuration."""

    sizes: BackboneConfig
    """The sizes of the backbone, those of a pretrained one included."""
    data: CaptionData
    module: NWayClip


def build_parts(config: RunConfig, folder: Path, start: Path | None) -> Parts:
    """Builds data and module for a run in `folder`. start: the checkpoint that the run continues from or evaluates.

    Raises ConfigError where the values of the configuration do not fit together.
    """
    sizes = resolved_sizes(config.backbone)
    check_reference(config.analysis, sizes)
    initial = read_initial_weights(config.init_from) if start is None and config.init_from is not None else None
    data = make_data(config, sizes, folder, start, initial)
    module = make_module(config, sizes, data)
    if start is None:
        begin(config, sizes, folder, module, data.tokenizer, initial)
    elif config.train and first_process():
        take_over_initial_weights(folder, start.parent.parent)
    return Parts(sizes, data, module)


def check_reference(analysis: AnalysisConfig, sizes: BackboneConfig) -> None:
    """Raises ConfigError where the model of analysis.cka_reference cannot read the pictures and captions of the run."""
    source = analysis.cka_reference
    if source is None or not analysis.cka:
        return
    reference = pretrained_sizes(source, CKA_REFERENCE)
    for key in ("image_size", "context_length"):
        wanted = getattr(sizes, key)
        if reference[key] != wanted:
            raise ConfigError(
                f"{CKA_REFERENCE}={source} has {key} {reference[key]}; allowed: a CLIP model with {wanted}, as "
                f"backbone={sizes.name}"
            )


def reference_towers(config: RunConfig, parts: Parts, seed: int, begun: Path | None = None) -> tuple[Towers, str]:
    """Returns the towers that analysis.cka compares with, and their name: the checkpoint in the configuration, or the
    initial weights of a run with this seed. begun: the folder of the run that began with these weights.

    The initial weights are bit-identical to those of the run, because nothing between seeding and building draws from
    torch's generator, and because a run keeps the weights of init_from.
    """
    source = config.analysis.cka_reference
    if source is not None:
        return load_towers(source, special_tokens(parts.data.tokenizer), CKA_REFERENCE), source
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        towers = make_module(config, parts.sizes, parts.data).encoder.towers
    kept, named = kept_weights(begun, config.init_from) if begun is not None else ({}, None)
    towers.load_state_dict(kept, strict=False)
    return towers, "initial weights" if named is None else f"initial weights, from init_from={named}"


def make_data(
    config: RunConfig, sizes: BackboneConfig, folder: Path, start: Path | None, initial: InitialWeights | None = None
) -> CaptionData:
    """Builds source, tokeniser and loaders. A tokeniser that the run trains, or takes over with the weights `initial`,
    is saved in its folder, and a continued run loads it from there.
    """
    source = agreed_source(config, sizes, folder, start)
    data = CaptionData(
        source,
        make_tokenizer(config, source, folder, start, initial),
        batch_size=config.data.batch_size,
        num_workers=config.data.num_workers,
        captions=config.model.captions,
        context_length=sizes.context_length,
        seed=config.seed,
        transforms=transforms_of(config),
        sampled_from=config.data.captions if config.data.caption_order == "sampled" else None,
    )
    if first_process():
        warn_of_long_captions(data)
    return data


def transforms_of(config: RunConfig) -> Transforms | None:
    """Returns the random changes of training pictures. None if no key asks for one."""
    active = changes_pictures(config.data.transforms)
    return Transforms(config.data.transforms, config.seed) if active else None


def agreed_source(config: RunConfig, sizes: BackboneConfig, folder: Path, start: Path | None) -> Source:
    """Builds the source, with the same rows in all processes of the run and in a continued run. Only the first process
    examines files.
    """
    earlier = earlier_record(folder, start.parent.parent) if start is not None and config.train else None
    first: list[Source] = []

    def examine() -> dict | None:
        shows_bar = config.trainer.enable_progress_bar
        first.append(make_source(config.data, SourceOptions(sizes.image_size, config.seed, earlier, shows_bar)))
        return first[0].record

    rows = board.agree(f"{folder.name}/rows", examine)
    source = first[0] if first else make_source(config.data, SourceOptions(sizes.image_size, config.seed, rows))
    if source.record is not None and first_process() and config.train and not config.trainer.fast_dev_run:
        data_json.write(folder, source.record)
    return source


def earlier_record(folder: Path, earlier: Path) -> dict | None:
    """Returns the record of the rows in `earlier`, the folder of the run that a run in `folder` continues; None where
    there is no record, or a damaged one.
    """
    try:
        return data_json.read(earlier)
    except ValueError:
        if first_process() and earlier.resolve() == folder.resolve():
            move_damaged(folder, folder / data_json.FILE, "it cannot be read", "the picture files are examined again")
        return None


def warn_of_long_captions(data: CaptionData) -> None:
    """Logs how many captions of the first CHECKED_SAMPLES training samples are longer than the context."""
    rows = range(min(data.source.size("train"), CHECKED_SAMPLES))
    texts = [text for texts in data.source.texts("train", rows) for text in texts[: data.sampled_from or data.captions]]
    longer = count_truncated(data.tokenizer, texts, data.context_length)
    if longer:
        share = (
            f"{longer:,} of the {len(texts):,} captions of the first {len(rows):,} training samples "
            f"({100 * longer / len(texts):.1f} %)"
        )
        log.warning(
            "%s are longer than backbone.context_length=%d tokens and are truncated", share, data.context_length
        )


def make_module(config: RunConfig, sizes: BackboneConfig, data: CaptionData) -> NWayClip:
    """Builds the module with the views that its loss reads."""
    model, options = config.model, asdict(loss_options(config.loss))
    views = len(plan_views(model.name, model.captions).names)
    batch_size = config.data.batch_size * processes(config.trainer)
    loss = make_loss(loss_formula(config.loss), **options, views=views, batch_size=batch_size, seed=config.seed)
    encoder = ViewEncoder(
        plan_views(model.name, model.captions, loss.reads),
        sizes,
        special_tokens(data.tokenizer),
        projection=model.projection,
        token_select=getattr(model, "token_select", "softmax"),
        eot_select=getattr(model, "eot_select", "argmax"),
    )
    module = NWayClip(
        encoder,
        loss,
        config.optimizer,
        config.schedule,
        scale_due=config.loss.scale_init == "auto",
        chosen_cap=config.loss.scale_cap,
        batch_size=config.data.batch_size,
        log_every_n_steps=config.trainer.log_every_n_steps,
    )
    freeze_towers(encoder, config.backbone.freeze)
    scaled_parameters(encoder, module.logit_scale, tuple(config.optimizer.lr_scale))  # refuses unknown towers
    return module


def loss_formula(loss: LossConfig) -> str | Callable[..., Any]:
    """Returns what `make_loss` builds the loss of: its name, or the function of loss=own.

    Raises ConfigError for a name without a formula, and for a function that cannot be imported.
    """
    if loss.function is not None:
        return load_function(loss.function, loss.function_digest)
    check_formula(loss.name, str(loss.family))
    return loss.name


def processes(trainer: TrainerConfig) -> int:
    """Returns how many processes the run has according to the configuration (`auto`: one for each GPU)."""
    devices = trainer.devices
    if devices in ("auto", -1):
        devices = 1 if trainer.accelerator == "cpu" else max(1, torch.cuda.device_count())
    return trainer.num_nodes * (devices if isinstance(devices, int) else len(devices))
