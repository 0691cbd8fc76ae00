"""Prints the results of a run in the terminal: a table of figures, the time of a step, the memory and the folder."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from model.metric_names import JOINT_RECALL, KS
from model.record.summary import JOINT_MEANING, RECALL_MEANING, Summary

RECALLS = tuple(f"recall@{k}" for k in KS)


def closing_table(summary: Summary, sizes: dict[str, int], ceilings: dict[str, dict[str, float]]) -> Table:
    """Returns the table of figures by split, with chance and ceiling.

    sizes: split -> number of samples, which determines chance. ceilings: split -> figure -> the largest value that the
    captions allow, for the splits where it is known.
    """
    table = Table(
        title=f"{summary.status} in {summary.seconds:.0f} s, {summary.steps['applied']} steps", title_justify="left"
    )
    table.add_column("split")
    for name in (*RECALLS, JOINT_RECALL, "swap_acc", "loss"):
        table.add_column(name, justify="right")
    for split, size in sizes.items():
        if f"{split}/recall@1" not in summary.metrics:
            continue
        figures = [f"{summary.metrics[f'{split}/{name}']:.3f}" for name in (*RECALLS, JOINT_RECALL, "swap_acc", "loss")]
        table.add_row(f"{split} ({size:,})", *figures)
        table.add_row("  chance", *[f"{min(1.0, k / size):.3f}" for k in (*KS, 1)], style="dim")
        if split in ceilings:
            table.add_row("  ceiling", *[f"{ceilings[split][name]:.3f}" for name in RECALLS], style="dim")
    return table


def print_closing(summary: Summary, sizes: dict[str, int], ceilings: dict[str, dict[str, float]]) -> None:
    """Prints the table, then the time of a step, the peak memory and the folder. Arguments: see `closing_table`."""
    console = Console()
    table = closing_table(summary, sizes, ceilings)
    console.print(table if table.rows else table.title)
    if table.rows:
        console.print(RECALL_MEANING, JOINT_MEANING, style="dim")
    step = f"{1000 * summary.step_seconds:.0f} ms a step, " if summary.step_seconds else ""
    console.print(
        f"{step}{summary.peak_memory_mib:,.0f} MiB peak memory; files in [bold]{summary.folder}[/bold]", soft_wrap=True
    )
