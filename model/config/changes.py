"""What a run that goes on may change: a comparison of its configuration with the one in its checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from model.config.decisions import CONDITIONAL, NOT_COMPARED, Change, Past, applies, equal_batch
from model.config.identity import INTRODUCED, OF_TRANSLATOR
from model.config.schema import RunConfig, TrainerConfig
from model.errors import ConfigError, require

ABSENT = "absent"


def check_changes(config: RunConfig, past: Past, processes: int) -> list[Change]:
    """The changes of `config` that take effect when the run of `past` goes on in `processes` processes.

    Raises ConfigError where the run has gone on beyond the end that `config` gives it, and where a change cannot take
    effect: a line for each.
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
        of_all = [
            f"{rows} in each of {count} processes"
            for rows, count in ((batch_before, past.processes), (batch, processes))
        ]
        refused.append(Change("data.batch_size", *of_all))
    if refused:
        refuse_edited_function(config, refused)
        head = (
            f"ckpt_path={config.ckpt_path} was made with other settings; allowed: those of the checkpoint, or a "
            f"new run without ckpt_path"
        )
        raise ConfigError("\n".join([head, *lines(refused, "in the checkpoint: ")]))
    check_end(config.trainer, past)
    return changes


def refuse_edited_function(config: RunConfig, refused: list[Change]) -> None:
    """Raises ConfigError where the file of loss.function has changed since the checkpoint was written."""
    changed = {change.key: change for change in refused}
    if "loss.function_digest" in changed and "loss.function" not in changed:
        before, now = changed["loss.function_digest"].before, changed["loss.function_digest"].now
        raise ConfigError(
            f"loss.function={config.loss.function} was edited after ckpt_path={config.ckpt_path} was written (SHA-256 "
            f"{now}, in the checkpoint {before}); allowed: the file as it was, or a new run without ckpt_path"
        )


def check_end(trainer: TrainerConfig, past: Past) -> None:
    """Raises ConfigError where the run is beyond its end already."""
    for key, done, what in (("max_epochs", past.epochs, "epochs begun"), ("max_steps", past.steps, "steps made")):
        value = getattr(trainer, key)
        require(
            value in (None, -1) or value >= done,
            f"trainer.{key}",
            value,
            f"is below the {done} {what} by the checkpoint",
            f"{done} or more",
        )
    limit = past.config["trainer"]["max_time"] if past.config else trainer.max_time
    if trainer.max_time != limit and trainer.max_time is not None:
        problem = f"is over: the run has trained for {past.seconds:.0f} s, which count"
        require(
            as_seconds(trainer.max_time) > past.seconds, "trainer.max_time", trainer.max_time, problem, "a longer time"
        )


def as_seconds(time: str) -> int:
    """Of days:hours:minutes:seconds."""
    days, hours, minutes, seconds = (int(part) for part in time.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """The keys of two configurations (nested dictionaries) whose values differ."""
    old, new = flat(before), flat(now)
    translates = now["model"]["name"] != "clip"
    changes = []
    for key in dict.fromkeys([*new, *old]):
        if key in NOT_COMPARED or (key in OF_TRANSLATOR and not translates):
            continue
        change = Change(key, old.get(key, INTRODUCED.get(key, ABSENT)), new.get(key, ABSENT))
        if change.before != change.now:
            changes.append(change)
    return changes


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def lines(changes: list[Change], before: str) -> list[str]:
    """A line for each change. Where another choice of a group was made, the other keys that both choices have are in
    its line.
    """
    choices = {change.key.partition(".")[0] for change in changes if change.key.endswith(".name")}
    texts = []
    for change in changes:
        group, _, name = change.key.rpartition(".")
        if name == "name":
            texts.append(f"{group}={written(change.now)} ({before}{written(change.before)}{with_it(group, changes)})")
        elif group not in choices:
            texts.append(f"{change.key}={written(change.now)} ({before}{written(change.before)})")
    return texts


def with_it(group: str, changes: list[Change]) -> str:
    """The keys of `group` beside its name that differ and that both choices have, in words; empty where there are
    none.
    """
    others = [change for change in changes if change.key.startswith(f"{group}.") and change.key != f"{group}.name"]
    values = [
        f"{one.key.rpartition('.')[2]}={written(one.now)} instead of {written(one.before)}"
        for one in others
        if ABSENT not in (one.before, one.now)
    ]
    return f"; with it {', '.join(values)}" if values else ""


def written(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(written, value))}]"
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if value is None or isinstance(value, bool)
        else str(value)
    )
