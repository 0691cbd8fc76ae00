"""Flags that depended on each other. Every flag was first translated alone; each step here then corrects the overrides
of a `Command`.
"""

from __future__ import annotations

from model.config.old_flags import ALL_FLAGS, LOSSES, TOTAL_STEPS, WITHOUT_SCALING, boolean
from model.errors import ConfigError
from model.legacy._old_scripts import OLD_DEFAULTS
from model.legacy._replacement import Command


def choose_loss(command: Command) -> None:
    """Chooses between a stable loss and logitsversion. The script with stable losses used one of them unless
    use_stable_loss was False.
    """
    flags = command.old_flags
    if command.stable:
        command.overrides |= ALL_FLAGS["stable_loss_version"].translate(flags.get("stable_loss_version", "1"))
        if "logitsversion" in flags:
            command.means_nothing("logitsversion", "with use_stable_loss=True, the default, which chose the loss")
    elif command.script.stable:
        command.overrides |= ALL_FLAGS["logitsversion"].translate(
            flags.get("logitsversion", OLD_DEFAULTS["logitsversion"])
        )
        if "stable_loss_version" in flags:
            command.means_nothing("stable_loss_version", "with use_stable_loss=False")
    if command.value("loss") == LOSSES[WITHOUT_SCALING] and int(flags.get("logitsversion", 0)) == WITHOUT_SCALING:
        command.overrides["loss.normalize"] = "false"
        if boolean(flags.get("normlogits", "False")):
            command.means_nothing("normlogits", f"with logitsversion={WITHOUT_SCALING}, which never scaled rows")


def choose_batch(command: Command) -> None:
    """Chooses between batch_size and train_batch_size: batch_size decided."""
    size, other = command.old_flags.get("batch_size"), command.old_flags.get("train_batch_size")
    if size and other and size != other:
        command.overrides |= ALL_FLAGS["batch_size"].translate(size)
        command.means_nothing("train_batch_size", f"with batch_size={size}")


def choose_steps(command: Command) -> None:
    """Ends the run after total_steps instead of a number of epochs, and makes the warm-up a share of them. Raises
    ConfigError for a warm-up that is not shorter.
    """
    flags, overrides = command.old_flags, command.overrides
    warmup, total = int(flags.get("warmup_steps", 0)), int(flags.get("total_steps", TOTAL_STEPS))
    if warmup >= total:
        raise ConfigError(f"warmup_steps={warmup} is not a value of this flag; allowed: less than total_steps={total}")
    if warmup:
        overrides["schedule.warmup"] = f"{warmup / total:.15g}"
    if warmup or "total_steps" in flags:
        overrides |= {"trainer.max_steps": str(total), "trainer.max_epochs": "null"}


def choose_width(command: Command) -> None:
    """Chooses between transformer_width and embed_dim: transformer_width decides. Raises ConfigError if the width is
    not a multiple of the number of heads.
    """
    flags, overrides = command.old_flags, command.overrides
    decisive, other = flags.get("transformer_width"), flags.get("embed_dim")
    if decisive and other and int(decisive) != int(other):
        overrides |= ALL_FLAGS["transformer_width"].translate(decisive)
        command.means_nothing(
            "embed_dim", f"with transformer_width={decisive}: every view has the width of the text tower"
        )
    heads, width = int(overrides.get("backbone.text_heads", 1)), int(overrides.get("backbone.text_width", 512))
    if width % heads:
        raise ConfigError(
            f"transformer_heads={heads} is not a value of this flag; allowed: a number that divides the width {width}"
        )


def choose_precision(command: Command) -> None:
    """Replaces precision=8, which chose the optimizer Lion; there is no training in 8 bits."""
    if command.old_flags.get("precision") == "8":
        command.overrides |= {"optimizer": "lion", "trainer.precision": "32-true"}
        command.overrides.pop("optimizer.eps", None)
        command.notes.append("precision=8 chose the optimizer; the weights are trained in 32-true")
        if "adam_epsilon" in command.old_flags:
            command.means_nothing("adam_epsilon", "with precision=8: optimizer=lion has no epsilon")


def choose_selection(command: Command) -> None:
    """Replaces model.token_select by model.eot_select if the script decoded captions: there gumbel sampled the row that
    represents the caption.
    """
    selected = command.overrides.get("model.token_select")
    if selected and command.script.decoded:
        del command.overrides["model.token_select"]
        command.overrides["model.eot_select"] = "gumbel" if selected == "gumbel" else "argmax"


def choose_monitor(command: Command) -> None:
    """Makes the Trainer clip gradients if the monitor is off."""
    if command.overrides.get("monitor") == "off":
        command.overrides["trainer.gradient_clip_val"] = command.overrides.pop("monitor.clip", "1.0")


def choose_activation(command: Command) -> None:
    """Notes the nearest function for the two functions that transformers does not have."""
    name = command.old_flags.get("improved_activation", "").lower()
    if name in ("elu", "scaled_tanh"):
        nearest = command.overrides["backbone.translator_activation"]
        command.notes.append(f"improved_activation={name} is not available today: {nearest} is the nearest")


CHOICES = (
    choose_loss,
    choose_batch,
    choose_steps,
    choose_width,
    choose_precision,
    choose_selection,
    choose_monitor,
    choose_activation,
)
