"""Decides for every key of conf/ whether a run that resumes from a checkpoint can change its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.config.identity import DERIVED


@dataclass(frozen=True)
class PastRun:
    """What a checkpoint stores about the run that wrote it."""

    config: dict[str, Any] | None
    """The configuration as nested dictionaries; None if an older version wrote the checkpoint."""
    steps: int
    """The number of optimizer steps."""
    epochs: int
    """The number of epochs, including an incomplete one."""
    seconds: float
    """The training time that counts for `trainer.max_time`."""
    processes: int
    """The number of processes."""
    best: float | None
    """The figure of best.ckpt; None if there is no best.ckpt."""
    best_metric: str | None = None
    """The name of that figure; None if it is not known."""


@dataclass(frozen=True)
class Change:
    """A key whose value differs from the one in the checkpoint."""

    key: str
    before: Any
    now: Any


def keys(group: str, names: str) -> frozenset[str]:
    """Returns `group.name` for each of the names, which are separated by spaces."""
    return frozenset(f"{group}.{name}" for name in names.split())


# Keys that say how a run is continued, or that follow from another key. They are not compared.
NOT_COMPARED = frozenset({"ckpt_path", "train", *DERIVED})
# Changes of these keys take effect: a process reads them when it starts, and the checkpoint does not restore them.
APPLIED = (
    frozenset({"evaluate", "report"})
    | keys("logger", "name project offline")
    | keys(
        "analysis",
        "name retrieval zero_shot probes geometry drift tokens cka samples cka_reference cka_samples probe_samples "
        "examples resamples",
    )
    # The monitor decides about each step from its settings alone; the checkpoint stores its counts.
    | keys(
        "monitor",
        "name clip clip_above every_n_steps vanishing exploding on_nonfinite max_skips per_layer activations "
        "noise_std noise_gamma",
    )
    # The end of the run. The schedule changes with it, see `model.optim.Rate`.
    | keys("trainer", "max_epochs min_epochs max_steps min_steps max_time early_stopping_patience")
    # The machine, the output, and the clipping of each gradient.
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
    # The samples and their order do not depend on the number of workers or on the folders of the files.
    | keys("data", "num_workers root images")
    # The loss is the same; only the order of summation differs.
    | keys("loss", "evaluation backend memory_mib")
    # The schedule reads these at the end of an epoch. The checkpoint stores the rate, the lowest loss and the number of
    # epochs without improvement.
    | keys("schedule", "factor patience")
)
# Changes of these keys are refused.
REFUSED = (
    # Lightning restores the optimizer's parameter groups, and with them the rate, the decay, betas and eps of the
    # checkpoint.
    keys("optimizer", "name lr weight_decay betas eps lr_scale")
    # The peak rate and the shape of the schedule: the checkpoint stores the peak rate and the position in the schedule.
    | keys("schedule", "name warmup final")
    # The weights in the checkpoint belong to this model.
    | keys("model", "name captions projection eot_select token_select")
    | keys("backbone", "name pretrained image_size patch_size context_length activation lr freeze")
    | keys("backbone", "vision_width vision_layers vision_heads text_width text_layers text_heads")
    | keys(
        "backbone",
        "translator_layers translator_heads translator_ffn translator_activation translator_dropout translator_norm "
        "translator_init",
    )
    # With another loss, figures before and after cannot be compared. The scale and its cap are restored with the
    # weights.
    | keys("loss", "name function function_digest normalize eps targets mask axes reduction scale_init scale_cap")
    # The samples or their order: the position in the epoch counts samples, and val_size affects the choice of
    # best.ckpt.
    | keys(
        "data",
        "name train_size val_size test_size captions caption_order tokenizer vocab_size languages year allow_outside",
    )
    # The pictures of the epochs to come.
    | keys(
        "data.transforms",
        "crop_scale crop_ratio flip shift rotate zoom fill brightness contrast saturation hue grey tint "
        "blur blur_sigma",
    )
    # init_from is part of what the run is, although only a new run reads it.
    | frozenset({"seed", "init_from"})
    | keys(
        "data",
        "image_column caption_columns split_column label_column language_column id_column few_captions",
    )
    | keys("data", "caption_keys txt_lines")
    # The number of steps of an epoch, and the choice of best.ckpt.
    | keys("trainer", "limit_train_batches limit_val_batches accumulate_grad_batches")
    # A trial run writes no checkpoint.
    | keys("trainer", "fast_dev_run")
    # The counts of skipped and clipped steps would cover a part of the run only.
    | keys("monitor", "enabled")
)
# Precisions with float32 weights. Changes among them do not round the weights.
FLOAT32_WEIGHTS = ("32-true", "16-mixed", "bf16-mixed")
# Strategies with which every process, and the checkpoint, has all weights. Others split the weights among processes.
UNSPLIT_WEIGHTS = ("auto", "ddp", "single_device")


def float32_weights(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether the weights are float32 before and after the change."""
    return change.before in FLOAT32_WEIGHTS and change.now in FLOAT32_WEIGHTS


def unsplit_weights(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether no strategy splits weights among processes, so that the optimizer's state keeps its form."""
    return all(str(value).startswith(UNSPLIT_WEIGHTS) for value in (change.before, change.now))


def no_best_checkpoint(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether best.ckpt has not yet been chosen by another figure."""
    return past.best is None


def equal_batch(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether the total batch size of all processes is unchanged: then each step reads the same samples."""
    return same_batch


def both_given(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether a split has files of its own before and after the change: then only their folder differs."""
    return change.before is not None and change.now is not None


# Changes of these keys take effect if the function returns True; otherwise they are refused.
CONDITIONAL: dict[str, Callable[[Change, PastRun, bool], bool]] = {
    "trainer.precision": float32_weights,
    "trainer.strategy": unsplit_weights,
    "trainer.devices": equal_batch,
    "trainer.num_nodes": equal_batch,
    "data.batch_size": equal_batch,
    "data.val": both_given,
    "data.test": both_given,
    "objective": no_best_checkpoint,
    "trainer.best": no_best_checkpoint,
    "trainer.best_mode": no_best_checkpoint,
}


def applies(change: Change, past: PastRun, same_batch: bool) -> bool:
    """Whether the change takes effect in a resumed run."""
    condition = CONDITIONAL.get(change.key)
    return condition(change, past, same_batch) if condition else change.key in APPLIED
