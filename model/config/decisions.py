"""For every key of conf/: whether a run that goes on from a checkpoint can take another value than the one that the
checkpoint was made with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.config.identity import DERIVED


@dataclass(frozen=True)
class Past:
    """What a checkpoint says about the run that wrote it."""

    config: dict[str, Any] | None
    """Nested dictionaries; None in checkpoints of versions that did not keep it."""
    steps: int
    """Optimizer steps made."""
    epochs: int
    """Epochs begun."""
    seconds: float
    """Training time that trainer.max_time has counted."""
    processes: int
    best: float | None
    """The value of `objective` that best.ckpt was chosen by."""


@dataclass(frozen=True)
class Change:
    """A key whose value differs from the one in the checkpoint."""

    key: str
    before: Any
    now: Any


def keys(group: str, names: str) -> frozenset[str]:
    """`group.name` of every name."""
    return frozenset(f"{group}.{name}" for name in names.split())


# Not compared: they say how a run is continued, or follow from another key.
NOT_COMPARED = frozenset({"ckpt_path", "train", *DERIVED})
# Read from the configuration whenever a process starts; the checkpoint does not restore them.
APPLIED = (
    frozenset({"evaluate", "report"})
    | keys("logger", "name project offline")
    | keys(
        "analysis",
        "name retrieval zero_shot probes geometry drift tokens cka samples cka_reference cka_samples probe_samples "
        "examples resamples",
    )
    # The monitor decides about each step by its settings alone; the checkpoint holds its counts.
    | keys(
        "monitor",
        "name clip clip_above every_n_steps vanishing exploding on_nonfinite max_skips per_layer activations "
        "noise_std noise_gamma",
    )
    # The end of the run. The schedule follows it, see `model.optim.Rate`.
    | keys("trainer", "max_epochs min_epochs max_steps min_steps max_time early_stopping_patience")
    # The machine, what is written and shown, and what is done to each gradient.
    | keys(
        "trainer", "name accelerator deterministic benchmark detect_anomaly sync_batchnorm profiler matmul_precision"
    )
    | keys(
        "trainer",
        "log_every_n_steps enable_checkpointing enable_progress_bar enable_model_summary checkpoint_every_n_steps",
    )
    | keys(
        "trainer",
        "gradient_clip_val gradient_clip_algorithm limit_test_batches num_sanity_val_steps val_check_interval "
        "check_val_every_n_epoch",
    )
    # The same samples in the same order, whoever makes the batches and wherever the files lie.
    | keys("data", "num_workers root")
    # The same loss in another order of summation.
    | keys("loss", "evaluation memory_mib")
    # Read when an epoch ends; the checkpoint holds the rate, the lowest loss and the number of epochs waited.
    | keys("schedule", "factor patience")
)
REFUSED = (
    # Lightning restores the optimizer's parameter groups, and with them the rate, the decay, betas and eps of the
    # checkpoint.
    keys("optimizer", "name lr weight_decay betas eps")
    # The peak rate and the shape of the curve: the checkpoint holds the peak rate and the place on the curve.
    | keys("schedule", "name warmup final")
    # The weights in the checkpoint are those of this model.
    | keys("model", "name captions projection eot_select token_select")
    | keys("backbone", "name pretrained image_size patch_size context_length activation lr")
    | keys("backbone", "vision_width vision_layers vision_heads text_width text_layers text_heads")
    | keys(
        "backbone",
        "translator_layers translator_heads translator_ffn translator_activation translator_dropout translator_norm "
        "translator_init",
    )
    # Another loss makes the figures before and after incomparable; the scale and its cap are restored with the weights.
    | keys("loss", "name function function_digest normalize eps targets mask axes reduction scale_init scale_cap")
    # The samples or their order, which the place in the epoch is counted in; val_size also what best.ckpt is chosen by.
    | keys(
        "data", "name train_size val_size test_size captions tokenizer vocab_size languages augment year allow_outside"
    )
    | frozenset({"seed"})
    # The steps of an epoch, and what best.ckpt is chosen by.
    | keys("trainer", "limit_train_batches limit_val_batches accumulate_grad_batches")
    # A trial run writes nothing that could go on.
    | keys("trainer", "fast_dev_run")
    # The counts of skipped and clipped steps would be those of a part of the run.
    | keys("monitor", "enabled")
)
# Precisions that keep the weights in float32, so that a change loses nothing.
FLOAT32_WEIGHTS = ("32-true", "16-mixed", "bf16-mixed")
# Strategies under which every process holds, and the checkpoint has, whole weights.
WHOLE_WEIGHTS = ("auto", "ddp", "single_device")


def same_storage(change: Change, past: Past, same_batch: bool) -> bool:
    """Whether the weights keep their type."""
    return change.before in FLOAT32_WEIGHTS and change.now in FLOAT32_WEIGHTS


def whole_weights(change: Change, past: Past, same_batch: bool) -> bool:
    """Whether the state of the optimizer has the same form."""
    return all(str(value).startswith(WHOLE_WEIGHTS) for value in (change.before, change.now))


def nothing_chosen(change: Change, past: Past, same_batch: bool) -> bool:
    """Whether best.ckpt has not been chosen by another figure yet."""
    return past.best is None


def equal_batch(change: Change, past: Past, same_batch: bool) -> bool:
    """Whether all processes together have the same batch: their number does not change which samples it holds."""
    return same_batch


# Applied where the function says so, refused elsewhere.
CONDITIONAL: dict[str, Callable[[Change, Past, bool], bool]] = {
    "trainer.precision": same_storage,
    "trainer.strategy": whole_weights,
    "trainer.devices": equal_batch,
    "trainer.num_nodes": equal_batch,
    "data.batch_size": equal_batch,
    "objective": nothing_chosen,
}


def applies(change: Change, past: Past, same_batch: bool) -> bool:
    """Whether the change takes effect in a run that goes on."""
    condition = CONDITIONAL.get(change.key)
    return condition(change, past, same_batch) if condition else change.key in APPLIED
