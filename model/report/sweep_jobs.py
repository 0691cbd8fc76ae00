"""A sweep's folder -> its jobs, each with its configuration and what became of it. Imports nothing that trains or
draws.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from model.config.identity import DERIVED, INTRODUCED, NOT_IN_JOB_HASH, OF_TRANSLATOR
from model.record.summary import ENDED, EVALUATION, SUMMARY, read_summary
from model.report.choices import choice_defaults

log = logging.getLogger(__name__)
# Seeds of one setting are pooled; what is measured and drawn makes no other setting.
SEED = "seed"
NOT_A_SETTING = (SEED, *NOT_IN_JOB_HASH)
# The value of another key.
REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep."""

    folder: Path
    config: dict[str, Any]
    """Dotted key -> value; lists as JSON, references to other keys resolved."""
    references: frozenset[str]
    """The keys whose value is that of another key."""
    overridden: tuple[str, ...]
    """`key=value`, as given on the command line."""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether there are figures."""
        return self.summary.get("status") in ENDED

    @property
    def seed(self) -> int:
        """Of every random generator."""
        return self.config[SEED]

    @property
    def figures(self) -> dict[str, float]:
        """What was measured, where it is a number."""
        return (
            {key: value for key, value in self.summary.get("metrics", {}).items() if value is not None}
            if self.ended
            else {}
        )

    @property
    def trouble(self) -> str | None:
        """Why there are no figures, in words; None where there are some."""
        if self.ended:
            return None
        return self.summary.get("reason", "did not end") if self.summary else "did not end"


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs in the folders below `sweep`, one a configuration: of several with the same, one that ended. None where
    there are none.
    """
    found: dict[str, Job] = {}
    for path in sorted(sweep.glob("*/.hydra/config.yaml")):
        try:
            job = read_job(path.parents[1])
        except (OSError, ValueError, yaml.YAMLError) as error:  # a kill while Hydra wrote it, or somebody else's file
            log.warning("%s is left out of the comparison: %s", path.parents[1], str(error).partition("\n")[0])
            continue
        identity = json.dumps(
            {key: value for key, value in job.config.items() if key not in NOT_IN_JOB_HASH}, sort_keys=True
        )
        if identity not in found or (job.ended and not found[identity].ended):
            found[identity] = job
    return list(found.values())


def read_job(folder: Path) -> Job:
    """The job in `folder`. Raises OSError, ValueError or YAMLError where its configuration cannot be read."""
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get(SEED), int):
        raise ValueError(f"{folder / '.hydra' / 'config.yaml'} is no configuration of a run")
    overrides = folder / ".hydra" / "overrides.yaml"
    given = yaml.safe_load(overrides.read_text(encoding="utf-8")) if overrides.exists() else []
    summary = read_summary(folder, SUMMARY) or read_summary(folder, EVALUATION)
    values, references = resolved(flat(config))
    return Job(folder, complete(values), references, tuple(argument.lstrip("+") for argument in given or ()), summary)


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with the keys that came after the job was run, at what they stand for then; without those of a part that
    its model does not have.
    """
    whole = {**values, **{key: before for key, before in INTRODUCED.items() if key not in values}}
    absent = (*DERIVED, *(OF_TRANSLATOR if values.get("model.name") == "clip" else ()))
    return {key: value for key, value in whole.items() if key not in absent}


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def resolved(values: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """`values` with every `${other.key}` replaced, and the keys where that was so."""
    targets = {
        key: match.group(1)
        for key, value in values.items()
        if isinstance(value, str) and (match := REFERENCE.fullmatch(value))
    }
    return {key: values.get(targets.get(key, key), value) for key, value in values.items()}, frozenset(targets)


def varying_keys(jobs: list[Job]) -> list[str]:
    """The keys that tell the settings apart, in the order of the configuration; not those, never given, that follow
    from others.
    """
    keys = list(dict.fromkeys(key for job in jobs for key in job.config if key not in NOT_A_SETTING))
    varied = [key for key in keys if varies(key, jobs)]
    given = {argument.split("=", 1)[0] for job in jobs for argument in job.overridden}
    return [key for key in varied if key in given or not follows(key, varied, jobs)]


def varies(key: str, jobs: list[Job]) -> bool:
    """Whether jobs differ in a key; not in whether their model has the part that it is of."""
    concerned = [job for job in jobs if key in job.config or key not in OF_TRANSLATOR]
    return len({repr(job.config.get(key)) for job in concerned}) > 1


def follows(key: str, varied: list[str], jobs: list[Job]) -> bool:
    """Whether `group.key` is another key's value, or everywhere the default of a `group.name` that varies."""
    if all(key in job.references for job in jobs):
        return True
    if key == "loss.function_digest":
        return one_for_each("loss.function", key, jobs)
    group, _, name = key.partition(".")
    choice = f"{group}.name"
    if key == choice or choice not in varied:
        return False
    defaults = [choice_defaults(group, str(job.config.get(choice))) for job in jobs]
    if None in defaults:
        return one_for_each(choice, key, jobs)
    return all(is_default(job, key, flat(default).get(name)) for job, default in zip(jobs, defaults, strict=True))


def one_for_each(choice: str, key: str, jobs: list[Job]) -> bool:
    """Whether a key has one value for each choice: what can be said where defaults are not known."""
    pairs = {(repr(job.config.get(choice)), repr(job.config.get(key))) for job in jobs}
    return len(pairs) == len({pair[0] for pair in pairs})


def is_default(job: Job, key: str, default: Any) -> bool:
    """Whether a job has a choice's default, which may be the value of another key of the job."""
    reference = REFERENCE.fullmatch(default) if isinstance(default, str) else None
    return job.config.get(key) == (job.config.get(reference.group(1)) if reference else default)


def column_name(key: str) -> str:
    """`loss.name` is the choice of the group `loss`."""
    return key.removesuffix(".name")


def common_arguments(jobs: list[Job]) -> list[str]:
    """What was given to every job alike."""
    return [
        argument
        for argument in jobs[0].overridden
        if all(argument in job.overridden for job in jobs) and not argument.startswith(f"{SEED}=")
    ]


def chance(job: Job, metric: str) -> float | None:
    """What guessing reaches at `<split>/<kind of recall>@k`; None for other figures and where the size of the split is
    not known.
    """
    split, _, name = metric.partition("/")
    size, k = job.summary.get("samples", {}).get(split), name.partition("@")[2]
    return min(1.0, int(k) / size) if size and k else None


def ceiling(job: Job, metric: str) -> float | None:
    """The most that the captions allow, where it is known."""
    split, _, name = metric.partition("/")
    return job.summary.get("ceiling", {}).get(split, {}).get(name)
