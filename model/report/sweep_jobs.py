"""Reads the jobs of a sweep's folder: the configuration and the summary of each. Imports no package that trains or
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

from model.config.identity import DERIVED, INTRODUCED, NOT_IN_JOB_HASH, OF_TRANSLATOR, has_translator
from model.config.nested import flatten
from model.record.summary import ENDED, EVALUATION, SUMMARY, read_summary
from model.report.choices import choice_defaults

log = logging.getLogger(__name__)
# Keys that do not distinguish settings: the seeds of one setting are pooled, and the splits to evaluate and the report
# do not change the training.
SEED = "seed"
NOT_A_SETTING = (SEED, *NOT_IN_JOB_HASH)
# A reference to the value of another key.
REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Job:
    """A job of a sweep."""

    folder: Path
    config: dict[str, Any]
    """Dotted key -> value. Lists are JSON texts, and references to other keys are resolved."""
    references: frozenset[str]
    """The keys whose value refers to another key."""
    overrides: tuple[str, ...]
    """The overrides `key=value` of the command line."""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the job ended with figures."""
        return self.summary.get("status") in ENDED

    @property
    def seed(self) -> int:
        """The seed of all random generators."""
        return self.config[SEED]

    @property
    def figures(self) -> dict[str, float]:
        """The figures that are numbers; empty if the job has not ended."""
        metrics = self.summary.get("metrics", {}) if self.ended else {}
        return {key: value for key, value in metrics.items() if value is not None}

    @property
    def failure(self) -> str | None:
        """Why the job has no figures; None if it has figures."""
        if self.ended:
            return None
        return self.summary.get("reason", "did not end") if self.summary else "did not end"


def read_jobs(sweep: Path) -> list[Job]:
    """Returns the jobs in the folders below `sweep`. If several jobs have the same configuration, returns one of them,
    if possible one that ended.
    """
    jobs: dict[str, Job] = {}
    for path in sorted(sweep.glob("*/.hydra/config.yaml")):
        try:
            job = read_job(path.parents[1])
        # Hydra was killed while it wrote the file, or another program wrote the file.
        except (OSError, ValueError, yaml.YAMLError) as error:
            log.warning("%s is left out of the comparison: %s", path.parents[1], str(error).partition("\n")[0])
            continue
        identity = json.dumps(
            {key: value for key, value in job.config.items() if key not in NOT_IN_JOB_HASH}, sort_keys=True
        )
        if identity not in jobs or (job.ended and not jobs[identity].ended):
            jobs[identity] = job
    return list(jobs.values())


def read_job(folder: Path) -> Job:
    """Reads the job in `folder`. Raises OSError, ValueError or YAMLError if its configuration cannot be read."""
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get(SEED), int):
        raise ValueError(f"{folder / '.hydra' / 'config.yaml'} is not the configuration of a run")
    file = folder / ".hydra" / "overrides.yaml"
    overrides = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []
    summary = read_summary(folder, SUMMARY) or read_summary(folder, EVALUATION)
    values, references = resolve_references(comparable(config))
    arguments = tuple(argument.lstrip("+") for argument in overrides or ())
    return Job(folder, with_later_keys(values), references, arguments, summary)


def with_later_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Adds the keys that were introduced after the job ran, with the values that repeat what it did. Removes the keys
    of the encoder-decoder if the model has none.
    """
    later = {key: before for key, before in comparable(INTRODUCED).items() if key not in values}
    left_out = (*DERIVED, *(() if has_translator(values.get("model.name")) else OF_TRANSLATOR))
    return {key: value for key, value in {**values, **later}.items() if key not in left_out}


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Returns dotted key -> value, with lists as JSON texts, so that all values can be compared and hashed."""
    values = flatten(config)
    return {key: json.dumps(value) if isinstance(value, list) else value for key, value in values.items()}


def resolve_references(values: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Replaces every `${other.key}` by the value of that key; also returns the keys that had such a reference."""
    targets = {
        key: match.group(1)
        for key, value in values.items()
        if isinstance(value, str) and (match := REFERENCE.fullmatch(value))
    }
    return {key: values.get(targets.get(key, key), value) for key, value in values.items()}, frozenset(targets)


def varying_keys(jobs: list[Job]) -> list[str]:
    """Returns the keys that distinguish the settings, in the order of the configuration. A key that follows from
    another key is left out unless the command line sets it.
    """
    keys = list(dict.fromkeys(key for job in jobs for key in job.config if key not in NOT_A_SETTING))
    varying = [key for key in keys if varies(key, jobs)]
    typed = {argument.split("=", 1)[0] for job in jobs for argument in job.overrides}
    return [key for key in varying if key in typed or not follows(key, varying, jobs)]


def varies(key: str, jobs: list[Job]) -> bool:
    """Whether jobs differ in the value of a key. A key of the encoder-decoder is compared among the jobs that
    have one.
    """
    compared = [job for job in jobs if key in job.config or key not in OF_TRANSLATOR]
    return len({repr(job.config.get(key)) for job in compared}) > 1


def follows(key: str, varying: list[str], jobs: list[Job]) -> bool:
    """Whether `group.key` follows from another key: in every job it refers to another key, or it has the default of a
    choice `group.name` that varies.
    """
    if all(key in job.references for job in jobs):
        return True
    if key == "loss.function_digest":
        return is_function_of("loss.function", key, jobs)
    group, _, name = key.partition(".")
    choice = f"{group}.name"
    if key == choice or choice not in varying:
        return False
    defaults = [choice_defaults(group, str(job.config.get(choice))) for job in jobs]
    known = [default for default in defaults if default is not None]
    if len(known) < len(jobs):
        return is_function_of(choice, key, jobs)
    return all(is_default(job, key, comparable(default).get(name)) for job, default in zip(jobs, known, strict=True))


def is_function_of(choice: str, key: str, jobs: list[Job]) -> bool:
    """Whether a key has one value for each choice. This replaces the comparison with defaults that are not known."""
    pairs = {(repr(job.config.get(choice)), repr(job.config.get(key))) for job in jobs}
    return len(pairs) == len({pair[0] for pair in pairs})


def is_default(job: Job, key: str, default: Any) -> bool:
    """Whether the job's value is the default, which may be a reference to another key of the job."""
    reference = REFERENCE.fullmatch(default) if isinstance(default, str) else None
    return job.config.get(key) == (job.config.get(reference.group(1)) if reference else default)


def column_name(key: str) -> str:
    """Returns the name of a key's column: `loss` for `loss.name`, which is the choice of the group."""
    return key.removesuffix(".name")


def common_arguments(jobs: list[Job]) -> list[str]:
    """Returns the overrides that all jobs have, without the seed."""
    return [
        argument
        for argument in jobs[0].overrides
        if all(argument in job.overrides for job in jobs) and not argument.startswith(f"{SEED}=")
    ]


def chance(job: Job, metric: str) -> float | None:
    """Returns the expected value of `<split>/<kind of recall>@k` for a random order; None for other figures, and if the
    size of the split is not known.
    """
    split, _, name = metric.partition("/")
    size, k = job.summary.get("samples", {}).get(split), name.partition("@")[2]
    return min(1.0, int(k) / size) if size and k else None


def ceiling(job: Job, metric: str) -> float | None:
    """Returns the largest recall that the captions allow, because some are equal; None if it is not known."""
    split, _, name = metric.partition("/")
    return job.summary.get("ceiling", {}).get(split, {}).get(name)
