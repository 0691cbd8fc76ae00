"""The flags of the old training scripts and their replacements, for hints about unknown overrides and for
`model.legacy`, which translates complete commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model.config.checks import FLOAT32_MAX, LARGEST_LAYERS, LARGEST_SIZE
from model.config.data_checks import LARGEST
from model.config.old_values import Translate, boolean, choice, integer, number, splits, switch, text

# logitsversion -> `loss=`.
LOSSES = {
    -1: "pairwise", 0: "einsum", 1: "loss2", 2: "loss3", 3: "loss4", 4: "loss5", 5: "loss6", 6: "loss1", 7: "norms",
    8: "normsv2", 9: "normsv3", 10: "normsv4", 11: "normsv5", 12: "normsv5", 13: "loss7", 14: "loss8", 15: "normsv6",
    16: "normsv7", 17: "normsv8", 18: "normsv9",
}  # fmt: skip
# This version is version 11 without normalisation of the rows.
WITHOUT_SCALING = 12
MASKS = {"0": "none", "1": "learned", "2": "extremes", "3": "sigmoid", "4": "raw"}
PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
STABLE_LOSSES = {"0": "stable_einsum", "1": "stable_norm", "2": "stable_cosine", "3": "stable_distance"}
# Activation -> its name in transformers. For the last two, which transformers lacks: that of the most similar function.
ACTIVATIONS = {
    "gelu": "gelu",
    "swish": "silu",
    "mish": "mish",
    "leaky_relu": "leaky_relu",
    "elu": "leaky_relu",
    "scaled_tanh": "tanh",
}
# The default of total_steps in the old scripts.
TOTAL_STEPS = 200_000
# The number of heads of the encoder-decoder in backbone=vit_b_32. It must divide the width.
TRANSLATOR_HEADS = 16


@dataclass(frozen=True)
class OldFlag:
    """A flag of the old scripts."""

    today: str
    """The override that replaces the flag, with `<…>` for its value; empty if nothing replaces it."""
    allowed: str
    """Describes the values that the flag accepted."""
    translate: Translate
    """Value as typed -> today's keys and their values. Raises ValueError for a value that the flag did not accept."""
    why_none: str = ""
    """Why nothing replaces the flag; empty if it has a replacement."""
    remark: str = ""
    """A remark on the replacement."""


def version(typed: str) -> Mapping[str, str]:
    """Translates logitsversion."""
    chosen = int(typed)
    if chosen not in LOSSES:
        raise ValueError(typed)
    return {"loss": LOSSES[chosen]} | ({"loss.normalize": "false"} if chosen == WITHOUT_SCALING else {})


def precision(typed: str) -> Mapping[str, str]:
    """Translates precision. Its value 8 chose the optimizer."""
    return {"optimizer": "lion"} if typed == "8" else choice("trainer.precision", PRECISIONS)(typed)


def projection(typed: str) -> Mapping[str, str]:
    """Translates projection. All words except inv, iinv and None left the features unchanged."""
    return {"model.projection": {"inv": "inv", "iinv": "iinv", "none": "none"}.get(typed.lower(), "identity")}


def warmup(typed: str) -> Mapping[str, str]:
    """Translates warmup_steps into a share of the old default of total_steps."""
    steps = int(typed)
    if not 0 <= steps < TOTAL_STEPS:
        raise ValueError(typed)
    return {"schedule.warmup": f"{steps / TOTAL_STEPS:.15g}"}


def width(typed: str) -> Mapping[str, str]:
    """Translates embed_dim and transformer_width."""
    if int(typed) % TRANSLATOR_HEADS:
        raise ValueError(typed)
    return integer("backbone.text_width", TRANSLATOR_HEADS, LARGEST_SIZE["text_width"])(typed)


def devices(typed: str) -> Mapping[str, str]:
    """Translates devices. Its value -1 means all devices."""
    return {"trainer.devices": "-1"} if typed == "-1" else integer("trainer.devices", 1, 10**6)(typed)


def without(read: Callable[[str], object], allowed: str, why_none: str) -> OldFlag:
    """Returns a flag that nothing replaces. read: raises ValueError for a value that the flag did not accept."""

    def translate(typed: str) -> Mapping[str, str]:
        read(typed)
        return {}

    return OldFlag("", allowed, translate, why_none)


BOOLEAN, STEPS, ANY_NUMBER = "True or False", "a whole number, 1 or more", "a whole number"
BATCH = f"a whole number, 2 to {LARGEST['batch_size']}"
WIDTH = f"a multiple of {TRANSLATOR_HEADS} up to {LARGEST_SIZE['text_width']}"
LAYERS, LENGTH = f"a whole number, 1 to {LARGEST_LAYERS}", f"a whole number, 4 to {LARGEST_SIZE['context_length']}"
VOCABULARY = f"a whole number, 300 to {LARGEST['vocab_size']}"
SAMPLES = integer("data.batch_size", 2, LARGEST["batch_size"])
LENGTHS = integer("backbone.context_length", 4, LARGEST_SIZE["context_length"])
VOCABULARIES = integer("data.vocab_size", 300, LARGEST["vocab_size"])
OLD_FLAGS: dict[str, OldFlag] = {
    "learning_rate": OldFlag(
        "optimizer.lr=<number>", "a number above 0", number("optimizer.lr", least=0, above=True, most=FLOAT32_MAX)
    ),
    "logitsversion": OldFlag("loss=<name>", "a whole number, -1 to 18", version),
    "normlogits": OldFlag("loss.normalize=<true or false>", BOOLEAN, switch("loss.normalize", "true", "false")),
    "projection": OldFlag(
        "model.projection=<none, inv, iinv or identity>",
        "None, inv, iinv, or another word for none of them",
        projection,
    ),
    "prune": without(boolean, BOOLEAN, "no weights are pruned"),
    "exactlabels": OldFlag("loss.targets=<diagonal or soft>", "0 or 1", switch("loss.targets", "soft", "diagonal")),
    "logvariance": without(boolean, BOOLEAN, "it never changed a figure"),
    "maskLosses": OldFlag(
        "loss.mask=<none, learned, extremes, sigmoid or raw>", "0, 1, 2, 3 or 4", choice("loss.mask", MASKS)
    ),
    "meanloss": OldFlag("loss.axes=<all or first>", BOOLEAN, switch("loss.axes", "first", "all")),
    "adam_epsilon": OldFlag("optimizer.eps=<number>", "a number above 0", number("optimizer.eps", least=0, above=True)),
    "warmup_steps": OldFlag(
        "schedule.warmup=<share>",
        f"a whole number, 0 to {TOTAL_STEPS - 1}",
        warmup,
        remark=f"a share of total_steps, which was {TOTAL_STEPS}",
    ),
    "weight_decay": OldFlag(
        "optimizer.weight_decay=<number>",
        "a number, 0 or more",
        number("optimizer.weight_decay", least=0, most=FLOAT32_MAX),
    ),
    "total_steps": OldFlag(
        "trainer.max_steps=<number>",
        STEPS,
        integer("trainer.max_steps", 1, 10**12),
        remark="with trainer.max_epochs=null",
    ),
    "batch_size": OldFlag("data.batch_size=<number>", BATCH, SAMPLES),
    "train_batch_size": OldFlag("data.batch_size=<number>", BATCH, SAMPLES),
    "eval_batch_size": without(
        integer("", 1, 10**9), STEPS, "validation contrasts as many samples at a time as training does, data.batch_size"
    ),
    "eval_splits": OldFlag("evaluate=<list>", "None, or a list of train, val and test", splits),
    "embed_dim": OldFlag("backbone.text_width=<number>", WIDTH, width),
    "transformer_width": OldFlag("backbone.text_width=<number>", WIDTH, width),
    "transformer_heads": OldFlag(
        "backbone.text_heads=<number>", STEPS, integer("backbone.text_heads", 1, LARGEST_SIZE["text_width"])
    ),
    "transformer_layers": OldFlag(
        "backbone.text_layers=<number>", LAYERS, integer("backbone.text_layers", 1, LARGEST_LAYERS)
    ),
    "context_length": OldFlag("backbone.context_length=<number>", LENGTH, LENGTHS),
    "vocab_size": OldFlag("data.vocab_size=<number>", VOCABULARY, VOCABULARIES),
    "precision": OldFlag("trainer.precision=<name>", "16, bf16, 32, 64, or 8", precision),
    "JSE": without(
        integer("", 0, 1),
        "0 or 1",
        "no loss has its mean of the views; the function is model.nargsLossCalculation.JSE_mean",
    ),
    "gumbel": OldFlag(
        "model.token_select=<softmax or gumbel>",
        BOOLEAN,
        switch("model.token_select", "gumbel", "softmax"),
        remark="with model=v534dim: model.eot_select=<argmax or gumbel>",
    ),
    "dir": OldFlag("data.root=<folder>", "a folder", text("data.root"), remark="with data=coco"),
    "annotations": without(text(""), "a folder", "the annotations are in data.root, in the folder annotations"),
    "log_path": without(text(""), "a folder", "a run writes into outputs/, or into hydra.run.dir=<folder>"),
    "devices": OldFlag("trainer.devices=<number>", "a whole number, 1 or more, or -1", devices),
    "accelerator": OldFlag(
        "trainer.accelerator=<name>", "gpu or cpu", choice("trainer.accelerator", {"gpu": "gpu", "cpu": "cpu"})
    ),
    "codeversion": without(int, ANY_NUMBER, "model=<v534dim, v5335dim or clip> chooses the model"),
    "num_trials": without(int, ANY_NUMBER, "python train.py -m runs a sweep, see docs/sweeps.md"),
    "debug": without(boolean, BOOLEAN, "trainer.fast_dev_run=true makes a short trial run"),
}
# The flags that only example_enhanced_training accepted.
ENHANCED_FLAGS: dict[str, OldFlag] = {
    "enable_gradient_monitoring": OldFlag("monitor=<watch or off>", BOOLEAN, switch("monitor", "watch", "off")),
    "enable_activation_monitoring": OldFlag(
        "monitor.activations=<true or false>", BOOLEAN, switch("monitor.activations", "true", "false")
    ),
    "use_stable_loss": OldFlag(
        "loss=<stable_…>", BOOLEAN, lambda typed: {"loss": "stable_norm"} if boolean(typed) else {}
    ),
    "stable_loss_version": OldFlag("loss=<stable_…>", "0, 1, 2 or 3", choice("loss", STABLE_LOSSES)),
    "gradient_clip_value": OldFlag(
        "monitor.clip=<number>", "a number above 0", number("monitor.clip", least=0, above=True)
    ),
    "improved_activation": OldFlag(
        "backbone.translator_activation=<name>",
        ", ".join(ACTIVATIONS),
        choice("backbone.translator_activation", ACTIVATIONS),
    ),
}
ALL_FLAGS = OLD_FLAGS | ENHANCED_FLAGS
MODELS = {"trainclip_v534dim": "v534dim", "trainclip_v5335dim": "v5335dim", "trainclip_v53_baseline": "clip"}
# Today's keys that users may type with a value of an old flag or the name of an old script, such as loss=7,
# loss.mask=1 and model=trainclip_v534DIM.
OLD_VALUES: dict[str, Translate] = {
    "loss": version,
    "model": choice("model", MODELS),
    "loss.mask": ALL_FLAGS["maskLosses"].translate,
    "loss.targets": ALL_FLAGS["exactlabels"].translate,
    "loss.axes": ALL_FLAGS["meanloss"].translate,
    "trainer.precision": precision,
    "model.token_select": ALL_FLAGS["gumbel"].translate,
    "model.eot_select": switch("model.eot_select", "gumbel", "argmax"),
}
BY_LOWER_CASE = {name.lower(): name for name in ALL_FLAGS}


def flag_hint(key: str, value: str) -> str | None:
    """Returns the hint for an override of an old flag, with or without a group before it; None if the last part of the
    key is not an old flag.
    """
    name = BY_LOWER_CASE.get(key.rpartition(".")[2].lower())
    if name is None:
        return None
    flag = ALL_FLAGS[name]
    if flag.why_none:
        return f"{name} is a flag of the old scripts and means nothing now: {flag.why_none}"
    try:
        today = flag.translate(value)
    except ValueError:
        return f"{name} is a flag of the old scripts ({flag.allowed}); did you mean {flag.today}?"
    return f"did you mean {joined(today) or flag.today}?{f' ({flag.remark})' if flag.remark else ''}"


def value_hint(key: str, value: str) -> str | None:
    """Returns the hint for a value of today's key that is a value of an old flag; None for other values."""
    try:
        return f"did you mean {joined(OLD_VALUES[key](value))}?"
    except (KeyError, ValueError):
        return None


def joined(today: Mapping[str, str]) -> str:
    """Returns the keys and values as a user types them on the command line."""
    return " ".join(f"{key}={value}" for key, value in today.items())
