"""A comparison as text: a CSV file with every digit, a Markdown table for people. Pure: rows in, text out."""

from __future__ import annotations

import re
from typing import Any

from model.record.metrics_csv import as_csv
from model.record.summary import JOINT_MEANING, RECALL_MEANING
from model.report.intervals import Interval
from model.report.sweep_jobs import ceiling, chance
from model.report.sweep_settings import Comparison, Row, costs, shown

# A text that a spreadsheet may take for a formula. Numbers, also several with spaces between them, are none.
NUMBERS = re.compile(r"[+-]?([\d.]+([eE][+-]?\d+)?|inf|nan)( [+-]?([\d.]+([eE][+-]?\d+)?|inf|nan))*")
FORMULA = re.compile(r"[=@+\-\t\r\n]")
# What the table shows of the many figures that the CSV file has.
SHOWN = (
    "val/recall@1",
    "val/joint_recall@1",
    "test/recall@1",
    "test/recall@5",
    "test/recall@10",
    "test/joint_recall@1",
    "test/swap_acc",
)


def csv_text(comparison: Comparison) -> str:
    """One row a setting, every digit; empty where there is no value."""
    records = [csv_record(comparison, row) for row in comparison.rows]
    columns = list(dict.fromkeys(column for record in records for column in record))
    return as_csv(columns, [{key: cell(value) for key, value in record.items()} for record in records])


def cell(value: Any) -> Any:
    """A value for a CSV file. A text that a spreadsheet would run as a formula gets an apostrophe before it, which
    spreadsheets do not show.
    """
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) and not NUMBERS.fullmatch(value) else value


def csv_record(comparison: Comparison, row: Row) -> dict[str, Any]:
    """Column -> value."""
    record: dict[str, Any] = {"rank": row.rank, **dict(zip(comparison.keys, row.setting, strict=True))}
    record |= {
        "seeds": " ".join(str(job.seed) for job in row.ended),
        "ok": len(row.ended),
        "failed": len(row.jobs) - len(row.ended),
    }
    record["stopped"] = sum(job.summary["status"] == "stopped" for job in row.ended)
    for metric in comparison.metrics:
        interval = row.interval(metric)
        record |= {
            metric: interval and interval.mean,
            f"{metric} low": interval and interval.low,
            f"{metric} high": interval and interval.high,
        }
        record[f"{metric} by seed"] = " ".join(map(repr, row.values(metric)))
        if "recall" in metric:
            record[f"{metric} chance"] = row.one(chance, metric)
            record[f"{metric} ceiling"] = row.one(ceiling, metric)
    record |= costs(row)
    record["failures"] = "; ".join(f"seed {job.seed}: {job.trouble}" for job in row.jobs if not job.ended).replace(
        "\n", " "
    )
    return record


def markdown(comparison: Comparison, command: str = "") -> str:
    """The table, ready to paste, what was common to all jobs, the command that ran them where it is known, and the
    failures.
    """
    metrics = [metric for metric in dict.fromkeys((comparison.objective, *SHOWN)) if metric in comparison.metrics]
    header = ["rank", *comparison.keys, "seeds", *metrics, "chance", "ms a step", "MiB", "clipped", "skipped"]
    lines = [
        table_line(header),
        table_line(["---:"] + ["---"] * len(comparison.keys) + ["---:"] * (len(header) - 1 - len(comparison.keys))),
    ]
    lines += [table_line(table_cells(row, metrics, comparison.objective)) for row in comparison.rows]
    ranking = f"ranked by {comparison.objective}; chance is that of the ranking's figure,"
    lines += ["", f"Mean over seeds ± half of its 95 % t-interval (—: one seed has none), {ranking}"]
    lines += [
        "MiB the largest of the seeds, clipped and skipped are optimizer steps of a run.",
        "",
        RECALL_MEANING,
        JOINT_MEANING,
    ]
    if comparison.common:
        lines += ["", f"All jobs: `{' '.join(comparison.common)}`"]
    if command:
        lines += ["", "The command (of several for this folder, the last):", "", "```sh", command, "```"]
    return "\n".join([*lines, *failures(comparison)]) + "\n"


def table_cells(row: Row, metrics: list[str], objective: str) -> list[str]:
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
        number(row.one(chance, objective), ".3f"),
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
        lines.append(
            f"- {' '.join([*named, f'seed={job.seed}'])} (`{job.folder.name}`): {' '.join((job.trouble or '').split())}"
        )
    return lines


def with_interval(interval: Interval | None) -> str:
    """`0.356 ± 0.012`."""
    if interval is None:
        return "—"
    return f"{interval.mean:.3f} ± {'—' if interval.high is None else f'{interval.high - interval.mean:.3f}'}"


def number(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "—" if value is None else format(value, form)


def table_line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
