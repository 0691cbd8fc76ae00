"""Compares the configuration of a resumed run with the one in its checkpoint, and refuses changes that cannot take
effect.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from model.config.decisions import CONDITIONAL, NOT_COMPARED, Change, PastRun, applies, equal_batch
from model.config.identity import INTRODUCED, OF_TRANSLATOR, has_translator
from model.config.nested import flatten
from model.config.schema import RunConfig, TrainerConfig
from model.errors import ConfigError, require

ABSENT = "absent"
"""The value of a key that one of the two configurations does not have."""


def check_changes(config: RunConfig, past: PastRun, processes: int) -> list[Change]:
    """Returns the changes of `config` that take effect when the run `past` is resumed in `processes` processes.

    Raises ConfigError if the run is already beyond the end that `config` sets, or if a change cannot take effect; the
    message has one line for each such change.
    """
    if past.config is None:
        check_end(config.trainer, past)
        return []
    now, before = asdict(config), past.config
    batch, batch_before = config.data.batch_size, before["data"]["batch_size"]
    same_batch = processes * batch == past.processes * batch_before
    changes = differences(before, now)
    refused = [change for change in changes if not applies(change, past, same_batch)]
    if not same_batch and all(CONDITIONAL.get(change.key) is not equal_batch for change in changes):
        earlier, present = (
            f"{rows} in each of {count} processes"
            for rows, count in ((batch_before, past.processes), (batch, processes))
        )
        refused.append(Change("data.batch_size", earlier, present))
    if refused:
        refuse_edited_function(config, refused)
        head = (
            f"ckpt_path={config.ckpt_path} was written with other settings; allowed: the settings of the checkpoint, "
            f"or a new run without ckpt_path"
        )
        raise ConfigError("\n".join([head, *change_texts(refused, "in the checkpoint: ")]))
    check_end(config.trainer, past)
    return changes


def refuse_edited_function(config: RunConfig, refused: list[Change]) -> None:
    """Raises ConfigError if the file of loss.function has changed since the checkpoint was written."""
    changed = {change.key: change for change in refused}
    if "loss.function_digest" in changed and "loss.function" not in changed:
        before, now = changed["loss.function_digest"].before, changed["loss.function_digest"].now
        raise ConfigError(
            f"loss.function={config.loss.function} was edited after ckpt_path={config.ckpt_path} was written (SHA-256 "
            f"{now}, in the checkpoint {before}); allowed: the file as it was, or a new run without ckpt_path"
        )


def check_end(trainer: TrainerConfig, past: PastRun) -> None:
    """Raises ConfigError if the run is already beyond the end that `trainer` sets."""
    for key, done, unit in (("max_epochs", past.epochs, "epochs"), ("max_steps", past.steps, "steps")):
        value = getattr(trainer, key)
        require(
            value in (None, -1) or value >= done,
            f"trainer.{key}",
            value,
            f"is below the {done} {unit} of the checkpoint",
            f"{done} or more",
        )
    limit = past.config["trainer"]["max_time"] if past.config else trainer.max_time
    if trainer.max_time != limit and trainer.max_time is not None:
        problem = f"has passed: the run has already trained for {past.seconds:.0f} s"
        require(
            as_seconds(trainer.max_time) > past.seconds, "trainer.max_time", trainer.max_time, problem, "a longer time"
        )


def as_seconds(time: str) -> int:
    """Returns the seconds of a time in the form days:hours:minutes:seconds."""
    days, hours, minutes, seconds = map(int, time.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """Returns the keys of two configurations (nested dictionaries) whose values differ."""
    old, new, introduced = flatten(before), flatten(now), flatten(INTRODUCED)
    translates = has_translator(now["model"]["name"])
    changes = []
    for key in dict.fromkeys([*new, *old]):
        if key in NOT_COMPARED or (key in OF_TRANSLATOR and not translates):
            continue
        change = Change(key, old.get(key, introduced.get(key, ABSENT)), new.get(key, ABSENT))
        if change.before != change.now:
            changes.append(change)
    return changes


def change_texts(changes: list[Change], before: str) -> list[str]:
    """Describes each change in one line. If another choice of a group is made, its line also describes the other keys
    that both choices have.

    before: the words in front of the earlier value.
    """
    choices = {change.key.partition(".")[0] for change in changes if change.key.endswith(".name")}
    texts = []
    for change in changes:
        group, _, name = change.key.rpartition(".")
        if name == "name":
            consequences = consequence_text(group, changes)
            texts.append(f"{group}={as_typed(change.now)} ({before}{as_typed(change.before)}{consequences})")
        elif group not in choices:
            texts.append(f"{change.key}={as_typed(change.now)} ({before}{as_typed(change.before)})")
    return texts


def consequence_text(group: str, changes: list[Change]) -> str:
    """Describes the keys of `group`, except its name, that differ and that both choices have; empty if there
    are none.
    """
    others = [change for change in changes if change.key.startswith(f"{group}.") and change.key != f"{group}.name"]
    values = [
        f"{other.key.rpartition('.')[2]}={as_typed(other.now)} instead of {as_typed(other.before)}"
        for other in others
        if ABSENT not in (other.before, other.now)
    ]
    return f"; with it {', '.join(values)}" if values else ""


def as_typed(value: Any) -> str:
    """Returns a value as a user types it on the command line."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(as_typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
