"""The comparison of a sweep: jobs -> one row a setting, seeds pooled, ranked -> comparison.csv, comparison.md, comparison.png."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import ConfigError
from model.report.files import write_whole
from model.report.intervals import Interval, t_interval
from model.report.jobs import Job, ceiling, chance, common_arguments, column_name, read_jobs, varying_keys
from model.report.journal import as_csv
from model.report.summary import OBJECTIVE

NAME = "comparison"
# Figures of a validation come first, those of the training set are no result.
SPLITS = ("val", "test", "train")
FIGURES = ("recall@1", "recall@5", "recall@10", "swap_acc", "loss")
# In words for people: what the table shows of the many figures that the CSV file has.
SHOWN = (OBJECTIVE, "test/recall@1", "test/recall@5", "test/recall@10", "test/swap_acc")


@dataclass(frozen=True)
class Row:
    """One setting."""

    setting: tuple[Any, ...]
    """Values of the comparison's keys."""
    jobs: tuple[Job, ...]
    rank: int | None = None
    """1 is the highest mean of val/recall@1, equal means share a rank; None where it was not measured."""

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


def write_comparison(folder: Path) -> list[Path]:
    """comparison.csv, .md and .png in the sweep's folder. Raises ConfigError where it holds no jobs."""
    from model.report.compare_plot import comparison_figure

    comparison = compare_jobs(read_jobs(folder), folder)
    csv, table, picture = (folder / f"{NAME}.{ending}" for ending in ("csv", "md", "png"))
    write_whole(csv, csv_text(comparison))
    write_whole(table, markdown(comparison))
    beside = picture.with_name(f".{picture.name}")
    comparison_figure(comparison).savefig(beside, format="png", dpi=200)
    beside.replace(picture)
    return [csv, table, picture]


def compare_jobs(jobs: list[Job], folder: Path) -> Comparison:
    """Groups the jobs by setting and ranks the settings. Raises ConfigError without jobs."""
    if not jobs:
        raise ConfigError(f"{folder} holds no jobs of a sweep; allowed: the folder of a sweep (hydra.sweep.dir), with a folder for each job in it")
    keys = varying_keys(jobs)
    settings: dict[str, list[Job]] = {}
    for job in jobs:
        settings.setdefault(repr([job.config.get(key) for key in keys]), []).append(job)
    rows = [Row(tuple(members[0].config.get(key) for key in keys), tuple(sorted(members, key=lambda job: job.seed))) for members in settings.values()]
    found = {metric for job in jobs for metric in job.figures}
    metrics = [f"{split}/{figure}" for split in SPLITS for figure in FIGURES if f"{split}/{figure}" in found and split != "train"]
    return Comparison(tuple(map(column_name, keys)), tuple(ranked(rows)), tuple(metrics), tuple(common_arguments(jobs)))


def ranked(rows: list[Row]) -> list[Row]:
    """By the mean of val/recall@1, highest first, those without it at the end."""
    measured = {id(row): row.interval(OBJECTIVE) for row in rows}
    order = sorted(rows, key=lambda row: (measured[id(row)] is None, -(measured[id(row)].mean if measured[id(row)] else 0), str(row.setting)))
    means = [measured[id(row)].mean for row in order if measured[id(row)]]
    return [Row(row.setting, row.jobs, 1 + means.index(measured[id(row)].mean) if measured[id(row)] else None) for row in order]


def csv_text(comparison: Comparison) -> str:
    """One row a setting, every digit; empty where there is no value."""
    records = [csv_record(comparison, row) for row in comparison.rows]
    columns = list(dict.fromkeys(column for record in records for column in record))
    return as_csv(columns, [{key: "" if value is None else value for key, value in record.items()} for record in records])


def csv_record(comparison: Comparison, row: Row) -> dict[str, Any]:
    """Column -> value."""
    record: dict[str, Any] = {"rank": row.rank, **dict(zip(comparison.keys, row.setting, strict=True))}
    record |= {"seeds": " ".join(str(job.seed) for job in row.ended), "ok": len(row.ended), "failed": len(row.jobs) - len(row.ended)}
    record["stopped"] = sum(job.summary["status"] == "stopped" for job in row.ended)
    for metric in comparison.metrics:
        interval = row.interval(metric)
        record |= {metric: interval and interval.mean, f"{metric} low": interval and interval.low, f"{metric} high": interval and interval.high}
        record[f"{metric} by seed"] = " ".join(map(repr, row.values(metric)))
        if "recall" in metric:
            record[f"{metric} chance"] = row.one(chance, metric)
            record[f"{metric} ceiling"] = row.one(ceiling, metric)
    record |= costs(row)
    record["failures"] = "; ".join(f"seed {job.seed}: {job.trouble}" for job in row.jobs if not job.ended).replace("\n", " ")
    return record


def costs(row: Row) -> dict[str, float | None]:
    """Means over the seeds; of the memory the largest."""
    mean = {
        "step_seconds": row.recorded("step_seconds"),
        "applied_steps": row.recorded("steps", "applied"),
        "clipped_steps": row.recorded("steps", "clipped"),
        "skipped_steps": row.recorded("steps", "skipped"),
    }
    found: dict[str, float | None] = {name: statistics.fmean(values) if values else None for name, values in mean.items()}
    memory = row.recorded("peak_memory_mib")
    return {**found, "peak_memory_mib": max(memory) if memory else None}


def markdown(comparison: Comparison) -> str:
    """The table, ready to paste, what was common to all jobs, and the failures."""
    metrics = [metric for metric in SHOWN if metric in comparison.metrics]
    header = ["rank", *comparison.keys, "seeds", *metrics, "chance", "ms a step", "MiB", "clipped", "skipped"]
    lines = [table_line(header), table_line(["---:"] + ["---"] * len(comparison.keys) + ["---:"] * (len(header) - 1 - len(comparison.keys)))]
    lines += [table_line(table_cells(row, metrics)) for row in comparison.rows]
    lines += ["", "Mean over seeds ± half of its 95 % t-interval (—: one seed has none), ranked by val/recall@1; chance is that of val/recall@1,"]
    lines += ["MiB the largest of the seeds, clipped and skipped are optimizer steps of a run."]
    if comparison.common:
        lines += ["", f"All jobs: `{' '.join(comparison.common)}`"]
    return "\n".join([*lines, *failures(comparison)]) + "\n"


def table_cells(row: Row, metrics: list[str]) -> list[str]:
    """A row of the table."""
    cost, total, ended = costs(row), len(row.jobs), len(row.ended)
    seeds = f"{ended}" if ended == total else f"{ended} of {total}"
    seconds = cost["step_seconds"]
    counts = [cost["peak_memory_mib"], cost["clipped_steps"], cost["skipped_steps"]]
    return [
        number(row.rank, "d"),
        *[shown(value) for value in row.setting],
        seeds,
        *[with_interval(row.interval(metric)) for metric in metrics],
        number(row.one(chance, OBJECTIVE), ".3f"),
        number(None if seconds is None else 1000 * seconds, ".0f"),
        *[number(value, ",.0f") for value in counts],
    ]


def failures(comparison: Comparison) -> list[str]:
    """A section with every job that has no figures, and why; nothing where all went well."""
    failed = [(row, job) for row in comparison.rows for job in row.jobs if not job.ended]
    if not failed:
        return []
    lines = ["", "## Without figures", ""]
    for row, job in failed:
        named = [f"{key}={shown(value)}" for key, value in zip(comparison.keys, row.setting, strict=True)]
        lines.append(f"- {' '.join([*named, f'seed={job.seed}'])} (`{job.folder.name}`): {' '.join((job.trouble or '').split())}")
    return lines


def with_interval(interval: Interval | None) -> str:
    """`0.356 ± 0.012`."""
    if interval is None:
        return "—"
    return f"{interval.mean:.3f} ± {'—' if interval.high is None else f'{interval.high - interval.mean:.3f}'}"


def number(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "—" if value is None else format(value, form)


def shown(value: Any) -> str:
    """A value of the configuration as one types it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def table_line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
