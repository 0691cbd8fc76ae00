"""The tables of a run's page as texts. Contains no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.metric_names import JOINT_RECALL, KS
from model.report.page_header import split_size
from model.report.page_numbers import number, rank, share, share_with_interval
from model.report.plots_retrieval import rankings
from model.report.run_files import Run, label

RECALLS = tuple(f"recall@{k}" for k in KS)
# What the recall in the table of splits is.
RECALL_OF_SPLIT = (
    "recall between image and caption 1, the mean of both directions; the ceiling is the most that caption 1 allows"
)


@dataclass(frozen=True)
class Table:
    """A table of texts. The first cell of a row is the row's header. A cell `value|note` has a small second line."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]] = ()


def recall_tables(run: Run) -> list[Table]:
    """Returns recall by split, then for each analysed split the recall of a view from all others, and the recall by
    caption and direction.
    """
    tables = [
        split_table(run, run.summary, f"By split: {RECALL_OF_SPLIT}"),
        split_table(run, run.evaluation, f"Evaluated with train=false: {RECALL_OF_SPLIT}"),
    ]
    for split, retrieval in run.analysis.get("retrieval", {}).items():
        columns = [*RECALLS, "median rank"]
        scope = f"{split}, {retrieval['samples']:,} pictures"
        by_view = [[label(ranking["view"]), *ranking_cells(ranking)] for ranking in retrieval.get("rest", [])]
        by_direction = [[ranking["name"], *ranking_cells(ranking)] for ranking in rankings(retrieval)]
        tables += [
            Table(
                f"Each view retrieved from all other views by the training score ({scope})", ["view", *columns], by_view
            ),
            Table(
                f"By caption and direction ({scope}; 95 % bootstrap interval)",
                ["query → result", *columns],
                by_direction,
            ),
        ]
    return non_empty(tables)


def split_table(run: Run, body: dict[str, Any], caption: str) -> Table:
    """Returns the figures of every split of a summary, with chance and ceiling below each."""
    metrics = body.get("metrics", {})
    rows: list[list[str]] = []
    for split in splits(metrics):
        samples = split_size(run, split)
        figures = [share(metrics.get(f"{split}/{name}")) for name in (*RECALLS, JOINT_RECALL, "swap_acc")]
        rows.append([f"{split} ({samples:,})" if samples else split, *figures, number(metrics.get(f"{split}/loss"))])
        if samples:
            rows.append(["chance", *(share(min(1.0, k / samples)) for k in (*KS, 1)), "", ""])
        ceiling = body.get("ceiling", {}).get(split, {})
        if ceiling:
            rows.append(["ceiling", *(share(ceiling.get(f"recall@{k}")) for k in KS), "", "", ""])
    return Table(caption, ["split", *RECALLS, "joint recall@1", "swap acc.", "loss"], rows)


def splits(metrics: dict[str, Any]) -> list[str]:
    """Returns the splits that have a recall, validation first."""
    names = [key.partition("/")[0] for key in metrics if key.endswith("/recall@1")]
    return sorted(names, key=lambda split: split != "val")


def ranking_cells(ranking: dict[str, Any]) -> list[str]:
    """Returns recall@1, @5 and @10 of a ranking with their intervals, and the median rank."""
    recalls = [share_with_interval(ranking["recall"].get(str(k))) for k in KS]
    return [*recalls, rank(ranking.get("median_rank"))]


def class_tables(run: Run) -> list[Table]:
    """Returns zero-shot classification and the probes, each with the accuracy of the most frequent class."""
    zero_shot = [
        [
            split,
            share_with_interval(result.get("top1")),
            share_with_interval(result.get("top5")),
            share(result.get("majority")),
            number(result["classes"]),
            number(result["samples"]),
        ]
        for split, result in run.analysis.get("zero_shot", {}).items()
    ]
    probes = [
        [
            f"{tower} features",
            share(result["accuracy"]),
            share(result.get("majority")),
            probe_split(result, "fitted_on", 0),
            probe_split(result, "scored_on", 1),
        ]
        for tower, result in run.analysis.get("probes", {}).items()
    ]
    zero_shot_columns = ["split", "top-1", "top-5", "most frequent", "classes", "pictures"]
    probe_columns = ["features", "accuracy", "most frequent", "fitted on", "scored on"]
    return non_empty(
        [
            Table("Zero-shot classification by prompts", zero_shot_columns, zero_shot),
            Table("Probes: logistic regression on frozen features", probe_columns, probes),
        ]
    )


def probe_split(result: dict[str, Any], key: str, place: int) -> str:
    """Returns the split on which a probe was fitted or scored, with its number of samples."""
    return result[key] + (f"|{result['samples'][place]:,} samples" if result.get("samples") else "")


def geometry_tables(run: Run) -> list[Table]:
    """Returns uniformity, effective rank and modality gap of every view, for the features of the best weights."""
    tables = []
    for split, geometry in run.analysis.get("geometry", {}).items():
        figures = [geometry.get(name, {}) for name in ("uniformity", "effective_rank", "modality_gap")]
        views = dict.fromkeys(view for figure in figures for view in figure)
        rows = [[label(view), *(number(figure.get(view)) for figure in figures)] for view in views]
        columns = ["view", "uniformity", "effective rank", "modality gap"]
        tables.append(Table(f"Features of every view ({split})", columns, rows))
    return non_empty(tables)


def token_tables(run: Run) -> list[Table]:
    """Returns the norms of the token embeddings, and the tokens closest to and furthest from their mean."""
    tokens = run.analysis.get("tokens", {})
    norms = tokens.get("norm", {})
    norm_rows = [["norm", *(number(value) for value in norms.values())]] if norms else []
    by_cosine = [
        Table(
            caption,
            ["token", "cosine to the mean"],
            [[repr(token)[1:-1], share(cosine)] for token, cosine in tokens.get(key, [])],
        )
        for key, caption in (("central", "Tokens closest to the mean"), ("furthest", "Tokens furthest from the mean"))
    ]
    return non_empty([Table("Norms of the token embeddings", ["", *norms], norm_rows), *by_cosine])


def non_empty(tables: Sequence[Table]) -> list[Table]:
    """Returns the tables that have rows."""
    return [table for table in tables if table.rows]


def examples_note(run: Run) -> str:
    """Returns a sentence that names the split of the retrieved examples; empty if it is not known."""
    split = run.examples.get("split")
    return f"The examples are from the {label(split)} split." if split else ""
