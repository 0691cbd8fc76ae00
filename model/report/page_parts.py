"""What a run's page says in words and tables: a Run -> plain texts. Nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model.report.page_numbers import count, duration, interval, number, rank, share
from model.report.plots import KS
from model.report.plots_retrieval import rankings
from model.report.run_files import Run, label

CHOSEN = ("loss", "model", "backbone", "data", "monitor", "optimizer", "schedule", "trainer")
# Of these splits, the first that was measured stands at the head of the page.
HEADLINES = ("test", "val")

JOINT = "joint_recall@1"


@dataclass(frozen=True)
class Tile:
    """A key number: what, how much, and what to hold it against."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first of a row names it. A cell `value|note` has a small second line."""

    caption: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)


def title(run: Run) -> str:
    """What the run was, in a few words: loss, model, data; the folder's name where its configuration is not there."""
    names = [choice(run, group) for group in ("loss", "model", "data")]
    return " · ".join(map(str, names)) if all(names) else run.folder.resolve().name


def choice(run: Run, group: str) -> str | None:
    """Returns the run's choice of a group, for loss=own with its function; None where it is not known."""
    name, function = run.setting(f"{group}.name"), run.setting(f"{group}.function")
    return f"{name} ({function})" if function else name


def status(run: Run) -> str:
    """`complete`, `stopped`, `failed`, `interrupted`, `evaluated`, or `unfinished` where nothing says how it ended."""
    return run.summary.get("status") or ("evaluated" if run.evaluation else "unfinished")


def problems(run: Run) -> list[str]:
    """What went wrong, the reason first, with what the monitor advises."""
    told = [run.summary["reason"]] if run.summary.get("reason") else []
    if run.halt:
        layers = run.halt.get("layers") or []
        told.append(
            f"Halted at step {run.halt.get('step')}: {run.halt.get('reason')}."
            + (f" Layers: {', '.join(layers)}." if layers else "")
        )
    if status(run) == "unfinished":
        told.append("There is no summary.json: the run goes on, or it was cut.")
    told += run.summary.get("repairs", [])
    steps = run.summary.get("steps", {})
    lost = steps.get("attempted", 0) - steps.get("applied", 0)
    if lost:
        told.append(f"{lost} of {steps['attempted']} steps were left out because loss or gradient was not finite.")
    told += [f"Step {found['step']}: {' '.join(found['text'].split())}" for found in run.summary.get("advice", [])]
    return told + [f"analysis.{part} is missing: {reason}" for part, reason in run.analysis.get("notes", {}).items()]


def facts(run: Run) -> list[tuple[str, str]]:
    """The choices that made the run, with the seed and the views."""
    told = [(group, name) for group in CHOSEN if (name := choice(run, group))]
    if run.setting("seed") is not None:
        told.append(("seed", str(run.setting("seed"))))
    precision, asked = (run.summary or run.evaluation).get("precision"), run.setting("trainer.precision")
    if precision:
        told.append(
            (
                "precision",
                precision
                if precision == str(asked)
                else f"{precision} (the device does not support trainer.precision={asked})",
            )
        )
    views = run.summary.get("views") or run.analysis.get("views") or []
    return [*told, ("views", f"{len(views)}: {', '.join(map(label, views))}")] if views else told


def tiles(run: Run) -> list[Tile]:
    """Key numbers: recall of the split that tells most, then what the run cost."""
    return [*headline(run), *costs(run.summary if run.summary.get("metrics") else run.evaluation)]


def headline(run: Run) -> list[Tile]:
    """Figures of the test split, else of validation; those of the training split are no result."""
    for split in HEADLINES:
        for body in (run.summary, run.evaluation):
            if body.get("metrics", {}).get(f"{split}/recall@1") is not None:
                return split_tiles(run, body, split)
    return []


def split_tiles(run: Run, body: dict[str, Any], split: str) -> list[Tile]:
    """Recall and swap accuracy of a split of a summary."""
    metrics, shown = body["metrics"], []
    for k in KS:
        value = metrics.get(f"{split}/recall@{k}")
        if value is not None:
            shown.append(Tile(f"{split} recall@{k}", share(value), against(run, body, split, k)))
    if metrics.get(f"{split}/{JOINT}") is not None:
        shown.append(
            Tile(f"{split} joint recall@1", share(metrics[f"{split}/{JOINT}"]), "the image from all other views")
        )
    if metrics.get(f"{split}/swap_acc") is not None:
        shown.append(Tile(f"{split} swap acc.", share(metrics[f"{split}/swap_acc"]), "matches that win their line"))
    return shown


def costs(body: dict[str, Any]) -> list[Tile]:
    """Steps, time, memory, size."""
    shown = []
    if body.get("steps", {}).get("attempted"):
        notes = [f"batches of {body['batch_size']:,}"] if body.get("batch_size") else []
        notes += [f"{body['steps']['clipped']:,} clipped"] if body["steps"].get("clipped") else []
        shown.append(Tile("steps", f"{body['steps']['applied']:,}", ", ".join(notes)))
    if body.get("step_seconds"):
        shown.append(Tile("training", duration(body["seconds"]), f"{1000 * body['step_seconds']:,.0f} ms a step"))
    if body.get("peak_memory_mib"):
        shown.append(Tile("memory, MiB", f"{body['peak_memory_mib']:,.0f}", "at most"))
    if body.get("parameters"):
        shown.append(
            Tile("parameters", count(body["parameters"]), f"{len(body['views'])} views" if body.get("views") else "")
        )
    return shown


def against(run: Run, body: dict[str, Any], split: str, k: int) -> str:
    """Chance and ceiling, as far as they are known."""
    samples = split_size(run, split)
    ceiling = body.get("ceiling", {}).get(split, {}).get(f"recall@{k}")
    told = [f"chance {share(min(1.0, k / samples))}"] if samples else []
    return ", ".join([*told, f"ceiling {share(ceiling)}"] if ceiling is not None else told)


def split_size(run: Run, split: str) -> int | None:
    """Samples of a split: as counted, or as configured."""
    counted = [body.get("samples", {}).get(split) for body in (run.summary, run.evaluation)]
    return counted[0] or counted[1] or run.setting(f"data.{split}_size")


def splits(metrics: dict[str, Any]) -> list[str]:
    """Splits with recall, validation first."""
    found = [key.partition("/")[0] for key in metrics if key.endswith("/recall@1")]
    return sorted(found, key=lambda split: split != "val")


def recall_tables(run: Run) -> list[Table]:
    """Recall by split as evaluated, then by caption view and direction, then of any view from the others."""
    averages = "Image to caption 1 and back, averaged; the ceiling is what caption 1 allows"
    tables = [
        by_split(run, run.summary, averages),
        by_split(run, run.evaluation, f"Evaluated by train=false: {averages[0].lower()}{averages[1:]}"),
    ]
    for split, found in run.analysis.get("retrieval", {}).items():
        columns = [*(f"recall@{k}" for k in KS), "median rank"]
        head = f"{split}, {found['samples']:,} pictures"
        ranked = [[pair["name"], *intervals(pair), rank(pair.get("median_rank"))] for pair in rankings(found)]
        rest = [
            [label(pair["view"]), *intervals(pair), rank(pair.get("median_rank"))] for pair in found.get("rest", [])
        ]
        tables.append(
            Table(f"A view found from all the others by the training score ({head})", ["view", *columns], rest)
        )
        tables.append(
            Table(f"By caption and direction ({head}; 95 % bootstrap interval)", ["asked → found", *columns], ranked)
        )
    return filled(tables)


def by_split(run: Run, body: dict[str, Any], caption: str) -> Table:
    """The averages of every split of a summary, with chance and ceiling below."""
    metrics, rows = body.get("metrics", {}), []
    for split in splits(metrics):
        samples = split_size(run, split)
        figures = [share(metrics.get(f"{split}/{name}")) for name in (*(f"recall@{k}" for k in KS), JOINT, "swap_acc")]
        rows.append([f"{split} ({samples:,})" if samples else split, *figures, number(metrics.get(f"{split}/loss"))])
        if samples:
            rows.append(["chance", *(share(min(1.0, k / samples)) for k in (*KS, 1)), "", ""])
        ceiling = body.get("ceiling", {}).get(split, {})
        if ceiling:
            rows.append(["ceiling", *(share(ceiling.get(f"recall@{k}")) for k in KS), "", "", ""])
    return Table(caption, ["split", *(f"recall@{k}" for k in KS), "joint recall@1", "swap acc.", "loss"], rows)


def examples_note(run: Run) -> str:
    """Where the retrieved examples come from."""
    split = run.examples.get("split")
    return f"They are of the {label(split)} split." if split else ""


def class_tables(run: Run) -> list[Table]:
    """Zero-shot classification and probes, each against always saying the most frequent class."""
    zero = Table(
        "Zero-shot classification by prompts", ["split", "top-1", "top-5", "most frequent", "classes", "pictures"]
    )
    for split, found in run.analysis.get("zero_shot", {}).items():
        sizes = [number(found["classes"]), number(found["samples"])]
        zero.rows.append(
            [split, interval(found.get("top1")), interval(found.get("top5")), share(found.get("majority")), *sizes]
        )
    probes = Table(
        "Probes: logistic regression on frozen features",
        ["features", "accuracy", "most frequent", "fitted on", "scored on"],
    )
    for tower, found in run.analysis.get("probes", {}).items():
        places = [fitted(found, "fitted_on", 0), fitted(found, "scored_on", 1)]
        probes.rows.append([f"{tower} features", share(found["accuracy"]), share(found.get("majority")), *places])
    return filled([zero, probes])


def fitted(found: dict[str, Any], key: str, place: int) -> str:
    """The split that a probe was fitted or scored on, with its samples."""
    return found[key] + (f"|{found['samples'][place]:,} samples" if found.get("samples") else "")


def geometry_tables(run: Run) -> list[Table]:
    """Per view: uniformity, effective rank, gap to the image, by the best weights."""
    tables = []
    for split, found in run.analysis.get("geometry", {}).items():
        parts = [found.get(name, {}) for name in ("uniformity", "effective_rank", "modality_gap")]
        rows = [
            [label(view), *(number(part.get(view)) for part in parts)]
            for view in dict.fromkeys(view for part in parts for view in part)
        ]
        tables.append(
            Table(f"Features of every view ({split})", ["view", "uniformity", "effective rank", "modality gap"], rows)
        )
    return filled(tables)


def token_tables(run: Run) -> list[Table]:
    """Token embeddings: their lengths, the most central and the furthest tokens."""
    tokens = run.analysis.get("tokens", {})
    norm = tokens.get("norm", {})
    lengths = [["length", *(number(value) for value in norm.values())]] if norm else []
    ranked = [
        Table(
            caption,
            ["token", "cosine to the mean"],
            [[repr(token)[1:-1], share(cosine)] for token, cosine in tokens.get(key, [])],
        )
        for key, caption in (("central", "Most central tokens"), ("furthest", "Furthest tokens"))
    ]
    return filled([Table("Length of token embeddings", ["", *norm], lengths), *ranked])


def filled(tables: list[Table]) -> list[Table]:
    """Those that have rows."""
    return [table for table in tables if table.rows]


def intervals(pair: dict[str, Any]) -> list[str]:
    """recall@1, @5, @10 of a ranking with their intervals."""
    return [interval(pair["recall"].get(str(k))) for k in KS]
