"""Groups a sweep's jobs by setting, pools the seeds of each setting, and ranks the settings."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from model.config.nested import value_at
from model.metric_names import KS
from model.record.summary import OBJECTIVE
from model.report.seed_interval import SeedInterval, t_interval
from model.report.sweep_jobs import Job, column_name, common_arguments, varying_keys

# The figures that are compared. Figures of the training split are not results.
SPLITS = ("val", "test")
RECALLS = ("recall", "joint_recall", "joint_recall_all")
FIGURES = (*(f"{name}@{k}" for name in RECALLS for k in KS), "swap_acc", "loss")


@dataclass(frozen=True)
class Setting:
    """The jobs of a sweep that differ in the seed only."""

    values: tuple[Any, ...]
    """The values of the comparison's keys."""
    jobs: tuple[Job, ...]
    rank: int | None = None
    """1 for the highest mean of the objective; equal means share a rank. None if the objective was not measured."""

    @property
    def ended_jobs(self) -> list[Job]:
        """The jobs that have figures."""
        return [job for job in self.jobs if job.ended]

    def interval(self, metric: str) -> SeedInterval | None:
        """Returns the mean over the seeds that have the figure, with its interval; None if no seed has it."""
        return t_interval(self.by_seed(metric))

    def by_seed(self, metric: str) -> list[float]:
        """Returns the figure of each seed that has it."""
        return [job.figures[metric] for job in self.ended_jobs if metric in job.figures]

    def mean_bound(self, bound: Callable[[Job, str], float | None], metric: str) -> float | None:
        """Returns the mean over the seeds of `chance` or `ceiling`; None if it is not known."""
        known = [value for value in (bound(job, metric) for job in self.ended_jobs) if value is not None]
        return statistics.fmean(known) if known else None

    def from_summaries(self, *keys: str) -> list[float]:
        """Returns the number at this path of keys in each job's summary that has it."""
        numbers = (value_at(job.summary, keys) for job in self.ended_jobs)
        return [number for number in numbers if number is not None]


@dataclass(frozen=True)
class Comparison:
    """The settings of a sweep, best first."""

    keys: tuple[str, ...]
    """The keys that differ between settings."""
    settings: tuple[Setting, ...]
    metrics: tuple[str, ...]
    """The figures that at least one job has, as <split>/<figure>."""
    common: tuple[str, ...]
    """The arguments that all jobs have in common."""
    objective: str = OBJECTIVE
    """The figure that ranks the settings."""


def compare_jobs(jobs: list[Job]) -> Comparison:
    """Groups the jobs, at least one, by setting and ranks the settings."""
    keys = varying_keys(jobs)
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(repr([job.config.get(key) for key in keys]), []).append(job)
    settings = [
        Setting(tuple(members[0].config.get(key) for key in keys), tuple(sorted(members, key=lambda job: job.seed)))
        for members in groups.values()
    ]
    measured = {metric for job in jobs for metric in job.figures}
    metrics = [f"{split}/{figure}" for split in SPLITS for figure in FIGURES if f"{split}/{figure}" in measured]
    objective = objective_of(jobs)
    return Comparison(
        tuple(map(column_name, keys)),
        tuple(rank_settings(settings, objective)),
        tuple(metrics),
        tuple(common_arguments(jobs)),
        objective,
    )


def objective_of(jobs: list[Job]) -> str:
    """Returns the `objective` that all jobs have; val/recall@1 if they differ."""
    objectives = {job.config.get("objective", OBJECTIVE) for job in jobs}
    return objectives.pop() if len(objectives) == 1 else OBJECTIVE


def rank_settings(settings: list[Setting], objective: str) -> list[Setting]:
    """Sorts the settings by the mean of the objective, highest first. Settings without the objective follow, and
    settings in which every job failed come last.
    """
    means = {
        setting.values: interval.mean for setting in settings if (interval := setting.interval(objective)) is not None
    }
    order = sorted(
        settings,
        key=lambda setting: (-means.get(setting.values, -1.0), not setting.ended_jobs, str(setting.values)),
    )
    best_first = sorted(means.values(), reverse=True)
    return [
        replace(setting, rank=1 + best_first.index(means[setting.values]) if setting.values in means else None)
        for setting in order
    ]


def costs(setting: Setting) -> dict[str, float | None]:
    """Returns the costs of a setting: means over the seeds, and the largest peak memory of the seeds."""
    by_seed = {
        "step_seconds": setting.from_summaries("step_seconds"),
        "applied_steps": setting.from_summaries("steps", "applied"),
        "clipped_steps": setting.from_summaries("steps", "clipped"),
        "skipped_steps": setting.from_summaries("steps", "skipped"),
    }
    means = {name: statistics.fmean(numbers) if numbers else None for name, numbers in by_seed.items()}
    memory = setting.from_summaries("peak_memory_mib")
    return {**means, "peak_memory_mib": max(memory) if memory else None}


def as_cell(value: Any) -> str:
    """Returns a value of the configuration as a user types it, with at most six significant digits."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
