"""What makes two configurations the same run: the hashes that name a run and a sweep's job, unchanged by keys that came
later.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from typing import Any

# What a continued run may change and still be the same run.
NOT_HASHED = ("ckpt_path", "train", "evaluate", "report")
# What the jobs of a sweep may change and still mean the same job: other checkpoints to start from are other jobs.
NOT_IN_JOB_HASH = ("evaluate", "report")
# Keys that were added after the first sweeps were run -> the value that repeats what runs did before the key existed.
# At that value a key is left out of the hashes, so that results of older versions are found again. A new key of conf/
# belongs here.
INTRODUCED: dict[str, Any] = {
    "data.allow_outside": False,
    "backbone.translator_init": "marian",
    "backbone.translator_norm": "post",
    "loss.function": None,
    "loss.function_digest": None,
    "loss.scale_cap": None,
    "objective": "val/recall@1",
    "trainer.matmul_precision": None,
}
# Keys that follow from another key, so that they tell no two runs apart.
DERIVED = ("loss.family",)
# Keys of the encoder-decoder, which model=clip does not have.
OF_TRANSLATOR = ("backbone.translator_init", "backbone.translator_norm")


def run_hash(values: dict[str, Any]) -> str:
    """12 hexadecimal digits that name a run's configuration (nested dictionaries); equal for runs that differ only in
    how they are continued.
    """
    return digest(values, NOT_HASHED)


def job_hash_of(values: dict[str, Any]) -> str:
    """12 hexadecimal digits that name a sweep's job."""
    return digest(values, NOT_IN_JOB_HASH)


def digest(values: dict[str, Any], left_out: tuple[str, ...]) -> str:
    """12 hexadecimal digits of `values` without the first-level keys that are left out, and without the later keys that
    change nothing.
    """
    kept = deepcopy({key: value for key, value in values.items() if key not in left_out})
    model = kept.get("model")
    translates = not (isinstance(model, dict) and model.get("name") == "clip")
    for key, before in (*INTRODUCED.items(), *((key, None) for key in DERIVED)):
        group, _, name = key.rpartition(".")
        holder = kept.get(group) if group else kept
        if (
            isinstance(holder, dict)
            and name in holder
            and (holder[name] == before or key in DERIVED or (key in OF_TRANSLATOR and not translates))
        ):
            del holder[name]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]
