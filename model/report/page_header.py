"""The head of a run's page as texts: title, status, problems, settings and key numbers. Contains no HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.metric_names import JOINT_RECALL, KS
from model.report.page_numbers import count, duration, share
from model.report.run_files import Run, label

# The groups of the configuration whose choices stand at the head of the page.
GROUPS = ("loss", "model", "backbone", "data", "monitor", "optimizer", "schedule", "trainer")
# The head of the page shows the first of these splits that was measured.
HEADLINE_SPLITS = ("test", "val")


@dataclass(frozen=True)
class KeyNumber:
    """A number at the head of the page: its name, its value and a remark."""

    name: str
    value: str
    note: str = ""


def title(run: Run) -> str:
    """Returns the loss, the model and the data of the run; the folder's name if the configuration is missing."""
    names = [choice_name(run, group) for group in ("loss", "model", "data")]
    return " · ".join(map(str, names)) if all(names) else run.folder.resolve().name


def choice_name(run: Run, group: str) -> str | None:
    """Returns the run's choice of a group, with the function for loss=own; None if it is not known."""
    name, function = run.setting(f"{group}.name"), run.setting(f"{group}.function")
    return f"{name} ({function})" if function else name


def status(run: Run) -> str:
    """Returns `complete`, `stopped`, `failed`, `interrupted`, `evaluated`, or `unfinished` if no file says how the run
    ended.
    """
    return run.summary.get("status") or ("evaluated" if run.evaluation else "unfinished")


def problems(run: Run) -> list[str]:
    """Returns what went wrong as sentences: the reason of a failure first, then repairs, lost steps and the monitor's
    advice.
    """
    sentences = [run.summary["reason"]] if run.summary.get("reason") else []
    if run.halt:
        layers = run.halt.get("layers") or []
        named = f" Layers: {', '.join(layers)}." if layers else ""
        sentences.append(f"Halted at step {run.halt.get('step')}: {run.halt.get('reason')}.{named}")
    if status(run) == "unfinished":
        sentences.append("There is no summary.json: the run has not ended, or it was killed.")
    sentences += run.summary.get("repairs", [])
    steps = run.summary.get("steps", {})
    lost = steps.get("attempted", 0) - steps.get("applied", 0)
    if lost:
        count = f"{lost} of {steps['attempted']} steps {'was' if lost == 1 else 'were'}"
        sentences.append(f"{count} skipped because the loss or the gradient was not finite.")
    advice = run.summary.get("advice", [])
    sentences += [f"Step {entry['step']}: {' '.join(entry['text'].split())}" for entry in advice]
    missing = run.analysis.get("notes", {})
    return sentences + [f"analysis.{name} is missing: {reason}" for name, reason in missing.items()]


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the settings of the run as (name, value): the choices, the seed, the precision, the figure that chooses
    the best weights, and the views.
    """
    choices = ((group, choice_name(run, group)) for group in GROUPS)
    named = [(group, str(choice)) for group, choice in choices if choice]
    if run.setting("seed") is not None:
        named.append(("seed", str(run.setting("seed"))))
    used, configured = (run.summary or run.evaluation).get("precision"), run.setting("trainer.precision")
    if used:
        reason = "" if used == str(configured) else f" (the device does not support trainer.precision={configured})"
        named.append(("precision", f"{used}{reason}"))
    best = run.summary.get("best")
    if isinstance(best, dict):
        named.append(("best weights", f"{'lowest' if best.get('mode') == 'min' else 'highest'} {best.get('metric')}"))
    views = run.summary.get("views") or run.analysis.get("views") or []
    return [*named, ("views", f"{len(views)}: {', '.join(map(label, views))}")] if views else named


def key_numbers(run: Run) -> list[KeyNumber]:
    """Returns the recall of the test split (or else of the validation split), then the costs of the run."""
    return [*headline(run), *costs(run.summary if run.summary.get("metrics") else run.evaluation)]


def headline(run: Run) -> list[KeyNumber]:
    """Returns the figures of the test split, or else of the validation split. Figures of the training split are not
    results.
    """
    for split in HEADLINE_SPLITS:
        for body in (run.summary, run.evaluation):
            if body.get("metrics", {}).get(f"{split}/recall@1") is not None:
                return split_numbers(run, body, split)
    return []


def split_numbers(run: Run, body: dict[str, Any], split: str) -> list[KeyNumber]:
    """Returns recall and swap accuracy of a split of a summary."""
    metrics, numbers = body["metrics"], []
    for k in KS:
        value = metrics.get(f"{split}/recall@{k}")
        if value is not None:
            numbers.append(KeyNumber(f"{split} recall@{k}", share(value), chance_and_ceiling(run, body, split, k)))
    if metrics.get(f"{split}/{JOINT_RECALL}") is not None:
        note = "the image from all other views"
        numbers.append(KeyNumber(f"{split} joint recall@1", share(metrics[f"{split}/{JOINT_RECALL}"]), note))
    if metrics.get(f"{split}/swap_acc") is not None:
        note = "lines on which the match has the highest score"
        numbers.append(KeyNumber(f"{split} swap acc.", share(metrics[f"{split}/swap_acc"]), note))
    return numbers


def costs(body: dict[str, Any]) -> list[KeyNumber]:
    """Returns the steps, the training time, the peak memory and the number of parameters of a summary."""
    numbers = []
    if body.get("steps", {}).get("attempted"):
        notes = [f"batches of {body['batch_size']:,}"] if body.get("batch_size") else []
        notes += [f"{body['steps']['clipped']:,} clipped"] if body["steps"].get("clipped") else []
        numbers.append(KeyNumber("steps", f"{body['steps']['applied']:,}", ", ".join(notes)))
    if body.get("step_seconds"):
        note = f"{1000 * body['step_seconds']:,.0f} ms a step"
        numbers.append(KeyNumber("training", duration(body["seconds"]), note))
    if body.get("peak_memory_mib"):
        numbers.append(KeyNumber("memory, MiB", f"{body['peak_memory_mib']:,.0f}", "peak"))
    if body.get("parameters"):
        note = f"{len(body['views'])} views" if body.get("views") else ""
        numbers.append(KeyNumber("parameters", count(body["parameters"]), note))
    return numbers


def chance_and_ceiling(run: Run, body: dict[str, Any], split: str, k: int) -> str:
    """Describes the recall@k by chance and the largest recall@k that the captions allow, if they are known."""
    samples = split_size(run, split)
    ceiling = body.get("ceiling", {}).get(split, {}).get(f"recall@{k}")
    words = [f"chance {share(min(1.0, k / samples))}"] if samples else []
    return ", ".join([*words, f"ceiling {share(ceiling)}"] if ceiling is not None else words)


def split_size(run: Run, split: str) -> int | None:
    """Returns the number of samples of a split: the counted one, or else the configured one."""
    counted = [body.get("samples", {}).get(split) for body in (run.summary, run.evaluation)]
    return counted[0] or counted[1] or run.setting(f"data.{split}_size")
