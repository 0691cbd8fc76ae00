"""A sweep's jobs -> one row a setting, seeds pooled, best first."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from model.record.summary import OBJECTIVE
from model.report.intervals import Interval, t_interval
from model.report.sweep_jobs import Job, column_name, common_arguments, varying_keys

# What is compared; figures of the training split are no result.
SPLITS = ("val", "test")
FIGURES = (
    *("recall@1", "recall@5", "recall@10", "joint_recall@1", "joint_recall@5", "joint_recall@10"),
    *("joint_recall_all@1", "joint_recall_all@5", "joint_recall_all@10", "swap_acc", "loss"),
)


@dataclass(frozen=True)
class Row:
    """One setting."""

    setting: tuple[Any, ...]
    """Values of the comparison's keys."""
    jobs: tuple[Job, ...]
    rank: int | None = None
    """1 is the highest mean of the objective, equal means share a rank; None where it was not measured."""

    @property
    def ended(self) -> list[Job]:
        """The jobs with figures."""
        return [job for job in self.jobs if job.ended]

    def interval(self, metric: str) -> Interval | None:
        """Over the seeds that have it."""
        return t_interval(self.values(metric))

    def values(self, metric: str) -> list[float]:
        """One a seed."""
        return [job.figures[metric] for job in self.ended if metric in job.figures]

    def one(self, of: Callable[[Job, str], float | None], metric: str) -> float | None:
        """`chance` or `ceiling` of the setting, the mean where seeds differ; None where it is not known."""
        known = [value for value in (of(job, metric) for job in self.ended) if value is not None]
        return statistics.fmean(known) if known else None

    def recorded(self, *keys: str) -> list[float]:
        """A number of each summary, by its path."""
        found = []
        for job in self.ended:
            value: Any = job.summary
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            found += [] if value is None else [value]
        return found


@dataclass(frozen=True)
class Comparison:
    """A sweep's settings, best first."""

    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    common: tuple[str, ...]
    objective: str = OBJECTIVE
    """What the settings are ranked by."""


def compare_jobs(jobs: list[Job]) -> Comparison:
    """Groups the jobs, at least one, by setting and ranks the settings."""
    keys = varying_keys(jobs)
    settings: dict[str, list[Job]] = {}
    for job in jobs:
        settings.setdefault(repr([job.config.get(key) for key in keys]), []).append(job)
    rows = [
        Row(tuple(members[0].config.get(key) for key in keys), tuple(sorted(members, key=lambda job: job.seed)))
        for members in settings.values()
    ]
    found = {metric for job in jobs for metric in job.figures}
    metrics = [f"{split}/{figure}" for split in SPLITS for figure in FIGURES if f"{split}/{figure}" in found]
    objective = objective_of(jobs)
    return Comparison(
        tuple(map(column_name, keys)),
        tuple(ranked(rows, objective)),
        tuple(metrics),
        tuple(common_arguments(jobs)),
        objective,
    )


def objective_of(jobs: list[Job]) -> str:
    """The `objective` of all jobs; val/recall@1 where they differ."""
    named = {job.config.get("objective", OBJECTIVE) for job in jobs}
    return named.pop() if len(named) == 1 else OBJECTIVE


def ranked(rows: list[Row], objective: str) -> list[Row]:
    """By the mean of the objective, highest first, then those without it, at the end those where every job failed."""
    means = {row.setting: interval.mean for row in rows if (interval := row.interval(objective)) is not None}
    order = sorted(rows, key=lambda row: (-means.get(row.setting, -1.0), not row.ended, str(row.setting)))
    best_first = sorted(means.values(), reverse=True)
    return [
        replace(row, rank=1 + best_first.index(means[row.setting]) if row.setting in means else None) for row in order
    ]


def costs(row: Row) -> dict[str, float | None]:
    """Means over the seeds; of the memory the largest."""
    mean = {
        "step_seconds": row.recorded("step_seconds"),
        "applied_steps": row.recorded("steps", "applied"),
        "clipped_steps": row.recorded("steps", "clipped"),
        "skipped_steps": row.recorded("steps", "skipped"),
    }
    found: dict[str, float | None] = {
        name: statistics.fmean(values) if values else None for name, values in mean.items()
    }
    memory = row.recorded("peak_memory_mib")
    return {**found, "peak_memory_mib": max(memory) if memory else None}


def shown(value: Any) -> str:
    """A value of the configuration as one types it, numbers with six digits."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
