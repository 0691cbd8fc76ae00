"""From the configuration to the parts of a run: sizes, data, module. Names from the configuration are resolved here."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from model.config.schema import BackboneConfig, RunConfig
from model.data import data_json, make_source
from model.data.module import CaptionData
from model.data.source import Source, SourceOptions
from model.data.tokenizer import count_truncated, load_tokenizer, new_tokenizer, save_tokenizer, tokenizer_name
from model.errors import ConfigError
from model.launch import board, first_process
from model.losses import make_loss
from model.module import NWayClip
from model.record.repairs import move_damaged
from model.views.backbone_sizes import pretrained_sizes
from model.views.encoder import ViewEncoder
from model.views.recipes import plan_views
from model.views.towers import SpecialTokens, Towers, load_towers

log = logging.getLogger(__name__)
# Training samples whose captions are compared with the context length at the start; python -m model.data.check does so
# for all.
CUT_SAMPLES = 5_000
# Keys of conf/loss that the module, not the loss, reads.
NOT_LOSS_ARGUMENTS = ("scale_init", "scale_cap")
CKA_REFERENCE = "analysis.cka_reference"


def check_reference(config: RunConfig, sizes: BackboneConfig) -> None:
    """Raises ConfigError where analysis.cka_reference cannot read the run's pictures and captions, before anything is
    trained.
    """
    source = config.analysis.cka_reference
    if source is None or not config.analysis.cka:
        return
    found = pretrained_sizes(source, CKA_REFERENCE)
    for key in ("image_size", "context_length"):
        wanted = getattr(sizes, key)
        if found[key] != wanted:
            raise ConfigError(
                f"{CKA_REFERENCE}={source} has {key} {found[key]}; allowed: a CLIP model with {wanted}, as "
                f"backbone={sizes.name}"
            )


def reference_towers(config: RunConfig, sizes: BackboneConfig, data: CaptionData, seed: int) -> tuple[Towers, str]:
    """What analysis.cka compares with, and its name: the checkpoint that the configuration names, or the towers as a
    run of `seed` starts with them, bit for bit, as nothing between seeding and building draws from torch's
    generator.
    """
    source = config.analysis.cka_reference
    if source is not None:
        return load_towers(source, special_tokens(data.tokenizer), CKA_REFERENCE), source
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_module(config, sizes, data).encoder.towers, "initial weights"


def make_data(config: RunConfig, sizes: BackboneConfig, folder: Path, start: Path | None) -> CaptionData:
    """Source, tokeniser and loaders. A tokeniser that a run trains is kept in its folder, from which a continued run
    loads it.
    """
    source = agreed_source(config, sizes, folder, start)
    data = CaptionData(
        source,
        make_tokenizer(config, source, folder, start),
        batch_size=config.data.batch_size,
        num_workers=config.data.num_workers,
        captions=config.model.captions,
        context_length=sizes.context_length,
        seed=config.seed,
    )
    if first_process():
        warn_of_cut_captions(data)
    return data


def agreed_source(config: RunConfig, sizes: BackboneConfig, folder: Path, start: Path | None) -> Source:
    """The source. It has the same rows in all processes of the run, and when the run is continued. Only the first
    process examines files.
    """
    earlier = kept_record(folder, start.parent.parent) if start is not None and config.train else None
    made: list[Source] = []

    def decide() -> dict | None:
        made.append(
            make_source(
                config.data, SourceOptions(sizes.image_size, config.seed, earlier, config.trainer.enable_progress_bar)
            )
        )
        return made[0].record

    rows = board.agree(f"{folder.name}/rows", decide)
    source = made[0] if made else make_source(config.data, SourceOptions(sizes.image_size, config.seed, rows))
    if source.record is not None and first_process() and config.train and not config.trainer.fast_dev_run:
        data_json.write(folder, source.record)
    return source


def kept_record(folder: Path, kept: Path) -> dict | None:
    """The record in the folder `kept` of the run that is continued in `folder`; None where there is none, or where it
    is damaged.
    """
    try:
        return data_json.read(kept)
    except ValueError:
        if first_process() and kept.resolve() == folder.resolve():
            move_damaged(folder, folder / data_json.FILE, "it cannot be read", "the picture files are examined again")
        return None


def warn_of_cut_captions(data: CaptionData) -> None:
    """Logs how many captions of the first CUT_SAMPLES training samples are longer than the context."""
    rows = range(min(data.source.size("train"), CUT_SAMPLES))
    texts = [text for texts in data.source.texts("train", rows) for text in texts[: data.captions]]
    cut = count_truncated(data.tokenizer, texts, data.context_length)
    if cut:
        share = (
            f"{cut:,} of the {len(texts):,} captions of the first {len(rows):,} training samples "
            f"({100 * cut / len(texts):.1f} %)"
        )
        log.warning(
            "%s are longer than backbone.context_length=%d tokens and are cut there", share, data.context_length
        )


def make_tokenizer(config: RunConfig, source, folder: Path, start: Path | None):
    """The tokeniser that the configuration names, the pretrained backbone's, the continued run's, or a new one,
    trained.

    A run whose own tokeniser is damaged trains it again, which gives the same one. Raises ConfigError where another
    run's is damaged, or that of a checkpoint which is only evaluated.
    """
    named = tokenizer_name(config.data.tokenizer, config.backbone.pretrained)
    if named:
        return load_tokenizer(named)
    kept = start.parent.parent / "tokenizer" if start is not None else None
    if kept is not None and kept.exists():
        try:
            return load_tokenizer(str(kept))
        except ConfigError:
            if kept.resolve() != (folder / "tokenizer").resolve() or not config.train:
                raise
        if first_process():
            move_damaged(
                folder, folder / "tokenizer", "it cannot be read", "it is trained again, from the same captions"
            )
    tokenizer = new_tokenizer(None, config.data.vocab_size, source)
    if first_process() and not config.trainer.fast_dev_run:
        save_tokenizer(tokenizer, folder / "tokenizer")
    return tokenizer


def make_module(config: RunConfig, sizes: BackboneConfig, data: CaptionData) -> NWayClip:
    """The module with the views that its loss reads."""
    model = config.model
    views = len(plan_views(model.name, model.captions).names)
    options = {key: value for key, value in asdict(config.loss).items() if key not in NOT_LOSS_ARGUMENTS}
    loss = make_loss(**options, views=views, batch_size=config.data.batch_size * processes(config), seed=config.seed)
    encoder = ViewEncoder(
        plan_views(model.name, model.captions, loss.reads),
        sizes,
        special_tokens(data.tokenizer),
        projection=model.projection,
        token_select=getattr(model, "token_select", "softmax"),
        eot_select=getattr(model, "eot_select", "argmax"),
    )
    scale = {"scale_init": config.loss.scale_init, "scale_cap": config.loss.scale_cap}
    return NWayClip(encoder, loss, config.optimizer, config.schedule, **scale, batch_size=config.data.batch_size)


def special_tokens(tokenizer) -> SpecialTokens:
    """The ids that towers and translator need to know."""
    return SpecialTokens(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer))


def processes(config: RunConfig) -> int:
    """How many processes the run has, as far as the configuration says (`auto`: as many as there are GPUs)."""
    devices = config.trainer.devices
    if devices in ("auto", -1):
        devices = 1 if config.trainer.accelerator == "cpu" else max(1, torch.cuda.device_count())
    return config.trainer.num_nodes * (devices if isinstance(devices, int) else len(devices))
