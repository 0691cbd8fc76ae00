"""Formats a comparison as text: a CSV file with all digits, and a Markdown table for people. Reads and writes
no file.
"""

from __future__ import annotations

import re
from typing import Any

from model.config.nested import value_at
from model.metric_names import KS
from model.record.metrics_csv import as_csv
from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report.seed_interval import SeedInterval
from model.report.sweep_jobs import ceiling, chance
from model.report.sweep_settings import Comparison, Setting, as_cell, costs

# A spreadsheet may run a text that begins like FORMULA. Numbers, also several with spaces between them, are safe.
NUMBERS = re.compile(r"[+-]?([\d.]+([eE][+-]?\d+)?|inf|nan)( [+-]?([\d.]+([eE][+-]?\d+)?|inf|nan))*")
FORMULA = re.compile(r"[=@+\-\t\r\n]")
# The figures of the Markdown table. The CSV file has all figures.
TABLE_FIGURES = (
    "val/recall@1",
    "val/joint_recall@1",
    *(f"test/recall@{k}" for k in KS),
    "test/joint_recall@1",
    "test/swap_acc",
)


def csv_text(comparison: Comparison) -> str:
    """Returns the CSV file: one row a setting, all digits, an empty cell for each missing value."""
    records = [csv_record(comparison, setting) for setting in comparison.settings]
    columns = list(dict.fromkeys(column for record in records for column in record))
    return as_csv(columns, [{key: csv_cell(value) for key, value in record.items()} for record in records])


def csv_cell(value: Any) -> Any:
    """Returns a value for a CSV file. A text that a spreadsheet would run as a formula gets an apostrophe in front,
    which spreadsheets do not show.
    """
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) and not NUMBERS.fullmatch(value) else value


def csv_record(comparison: Comparison, setting: Setting) -> dict[str, Any]:
    """Returns column -> value for a setting."""
    ended = setting.ended_jobs
    record: dict[str, Any] = {"rank": setting.rank, **dict(zip(comparison.keys, setting.values, strict=True))}
    record |= {
        "seeds": " ".join(str(job.seed) for job in ended),
        "ok": len(ended),
        "failed": len(setting.jobs) - len(ended),
    }
    record["stopped"] = sum(job.summary["status"] == "stopped" for job in ended)
    for metric in comparison.metrics:
        interval = setting.interval(metric)
        record |= {
            metric: interval and interval.mean,
            f"{metric} low": interval and interval.low,
            f"{metric} high": interval and interval.high,
        }
        record[f"{metric} by seed"] = " ".join(map(repr, setting.by_seed(metric)))
        if "recall" in metric:
            record[f"{metric} chance"] = setting.mean_bound(chance, metric)
            record[f"{metric} ceiling"] = setting.mean_bound(ceiling, metric)
    failures = [f"seed {job.seed}: {job.failure}" for job in setting.jobs if not job.ended]
    return {**record, **costs(setting), "failures": "; ".join(failures).replace("\n", " ")}


def chosen_by(comparison: Comparison) -> list[str]:
    """Returns a sentence that names the figures that have chosen the best weights of the jobs; none for jobs of earlier
    versions, which do not record them.
    """
    named = [value_at(job.summary, ("best", "metric")) for setting in comparison.settings for job in setting.jobs]
    figures = list(dict.fromkeys(str(name) for name in named if name is not None))
    return (
        [f"Test figures are of the best weights of a job, which {' or '.join(figures)} has chosen."] if figures else []
    )


def markdown(comparison: Comparison, command: str = "") -> str:
    """Returns the Markdown file: the table, the arguments that all jobs have in common, the command of the sweep and
    the failed jobs.

    command: empty if it is not known.
    """
    metrics = [
        metric for metric in dict.fromkeys((comparison.objective, *TABLE_FIGURES)) if metric in comparison.metrics
    ]
    header = ["rank", *comparison.keys, "seeds", *metrics, "chance", "ms a step", "MiB", "clipped", "skipped"]
    lines = [
        table_line(header),
        table_line(["---:"] + ["---"] * len(comparison.keys) + ["---:"] * (len(header) - 1 - len(comparison.keys))),
    ]
    lines += [table_line(table_cells(setting, metrics, comparison.objective)) for setting in comparison.settings]
    lines += [
        "",
        "A figure is the mean over seeds ± half of its 95 % t-interval (—: a single seed has no interval).",
        f"The settings are ranked by {comparison.objective}, and chance is the chance of that figure.",
        *chosen_by(comparison),
        "MiB is the largest peak memory of the seeds. Clipped and skipped count optimizer steps (means over seeds).",
        "",
        RECALL_MEANING,
        JOINT_MEANING,
    ]
    if comparison.common:
        lines += ["", f"All jobs: `{' '.join(comparison.common)}`"]
    if command:
        lines += ["", "The command of the sweep (the last one for this folder):", "", "```sh", command, "```"]
    return "\n".join([*lines, *failures(comparison)]) + "\n"


def table_cells(setting: Setting, metrics: list[str], objective: str) -> list[str]:
    """Returns the cells of a setting's row in the Markdown table."""
    cost, total, ended = costs(setting), len(setting.jobs), len(setting.ended_jobs)
    seeds = f"{ended}" if ended == total else f"{ended} of {total}"
    seconds = cost["step_seconds"]
    counts = [cost["peak_memory_mib"], cost["clipped_steps"], cost["skipped_steps"]]
    return [
        number(setting.rank, "d"),
        *[as_cell(value) for value in setting.values],
        seeds,
        *[with_interval(setting.interval(metric)) for metric in metrics],
        number(setting.mean_bound(chance, objective), ".3f"),
        number(None if seconds is None else 1000 * seconds, ".0f"),
        *[number(value, ",.0f") for value in counts],
    ]


def failures(comparison: Comparison) -> list[str]:
    """Returns a section that lists each job without figures and the reason; empty if all jobs have figures."""
    failed = [(setting, job) for setting in comparison.settings for job in setting.jobs if not job.ended]
    if not failed:
        return []
    lines = ["", "## Without figures", ""]
    for setting, job in failed:
        values = [f"{key}={as_cell(value)}" for key, value in zip(comparison.keys, setting.values, strict=True)]
        arguments, reason = " ".join([*values, f"seed={job.seed}"]), " ".join((job.failure or "").split())
        lines.append(f"- {arguments} (`{job.folder.name}`): {reason}")
    return lines


def with_interval(interval: SeedInterval | None) -> str:
    """Returns `0.356 ± 0.012`; a dash replaces a missing mean or interval."""
    if interval is None:
        return "—"
    return f"{interval.mean:.3f} ± {'—' if interval.high is None else f'{interval.high - interval.mean:.3f}'}"


def number(value: float | None, form: str) -> str:
    """Returns the number in this form; a dash for None."""
    return "—" if value is None else format(value, form)


def table_line(cells: list[str]) -> str:
    """Returns one line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
