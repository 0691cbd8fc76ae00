"""Hashes that identify the configuration of a run and of a sweep's job. Keys that were added later do not
change them.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from typing import Any

from model.config.best import AUTO, best_metric, natural_mode
from model.config.nested import value_at

# A run that changes only these keys is still the same run.
NOT_HASHED = ("ckpt_path", "train", "evaluate", "report")
# A sweep's job that changes only these keys is still the same job. A job with another `ckpt_path` is another job.
NOT_IN_JOB_HASH = ("evaluate", "report")
# conf/data/transforms/none.yaml.
UNCHANGED_PICTURES = {
    "crop_scale": None,
    "crop_ratio": [0.75, 1.3333],
    "flip": 0.0,
    "shift": 0.0,
    "rotate": 0.0,
    "zoom": 0.0,
    "fill": "mirror",
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grey": 0.0,
    "tint": 0.0,
    "blur": 0.0,
    "blur_sigma": [0.1, 1.0],
}
# Keys that were added after the first sweeps -> the value with which a run does what runs did before the key existed.
# With that value a key is left out of the hashes, so that results of older versions are found. Add each new key of
# conf/ here.
INTRODUCED: dict[str, Any] = {
    "data.allow_outside": False,
    "data.caption_order": "fixed",
    "data.transforms": UNCHANGED_PICTURES,
    "data.val": None,
    "data.test": None,
    "data.few_captions": "leave_out",
    "data.caption_keys": ["captions", "caption"],
    "data.txt_lines": False,
    "backbone.translator_init": "marian",
    "backbone.translator_norm": "post",
    "loss.function": None,
    "loss.function_digest": None,
    "loss.scale_cap": None,
    "loss.backend": "auto",
    "init_from": None,
    "backbone.freeze": [],
    "optimizer.lr_scale": {},
    "objective": "val/recall@1",
    "trainer.best": "auto",
    "trainer.best_mode": "auto",
    "trainer.matmul_precision": None,
}
# Keys whose default was a number and is null now -> that number, which stands for null in the hashes.
FORMER_DEFAULTS = {("loss", "memory_mib"): 200}
# Keys that follow from another key. They distinguish no two runs.
DERIVED = ("loss.family",)
# Keys of the encoder-decoder. model=clip has no encoder-decoder.
OF_TRANSLATOR = ("backbone.translator_init", "backbone.translator_norm")


def has_translator(model: object) -> bool:
    """Whether a model, given by its name, has an encoder-decoder: all models except plain CLIP have one."""
    return model != "clip"


def run_hash(values: dict[str, Any]) -> str:
    """Returns 12 hexadecimal digits that identify a run's configuration, given as nested dictionaries. Runs that differ
    only in how they are continued have equal hashes.
    """
    return digest(values, NOT_HASHED)


def job_hash_of(values: dict[str, Any]) -> str:
    """Returns 12 hexadecimal digits that identify a sweep's job."""
    return digest(values, NOT_IN_JOB_HASH)


def resolve_best(values: dict[str, Any]) -> None:
    """Replaces the values of trainer.best and trainer.best_mode in nested dictionaries by `auto` where they mean what
    `objective` means, as it did before these keys existed, and else by the figure and its mode.
    """
    trainer, objective = values.get("trainer"), values.get("objective", INTRODUCED["objective"])
    if isinstance(trainer, dict):
        metric = best_metric(trainer.get("best", AUTO), objective, value_at(values, ("loss", "family")))
        trainer["best"] = AUTO if metric == objective else metric
        if trainer.get("best_mode") == natural_mode(metric):
            trainer["best_mode"] = AUTO


def digest(values: dict[str, Any], left_out: tuple[str, ...]) -> str:
    """Returns 12 hexadecimal digits for `values` without the top-level keys `left_out` and without later keys that
    change nothing.
    """
    hashed = deepcopy({key: value for key, value in values.items() if key not in left_out})
    resolve_best(hashed)
    for (group, name), former in FORMER_DEFAULTS.items():
        if isinstance(hashed.get(group), dict) and hashed[group].get(name, former) is None:
            hashed[group][name] = former
    translates = has_translator(value_at(hashed, ("model", "name")))
    for key, before in (*INTRODUCED.items(), *((key, None) for key in DERIVED)):
        group, _, name = key.rpartition(".")
        holder = hashed.get(group) if group else hashed
        if (
            isinstance(holder, dict)
            and name in holder
            and (holder[name] == before or key in DERIVED or (key in OF_TRANSLATOR and not translates))
        ):
            del holder[name]
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:12]
