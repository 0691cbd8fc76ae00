"""Writes the comparison of a sweep, comparison.csv, comparison.md and comparison.png, from the files of its jobs."""

from __future__ import annotations

import io
from pathlib import Path

from model.errors import ConfigError
from model.record.files import remove_unfinished, write_whole
from model.report.commands import sweep_command
from model.report.sweep_jobs import read_jobs
from model.report.sweep_settings import compare_jobs
from model.report.sweep_text import csv_text, markdown

NAME = "comparison"
DOTS_PER_INCH = 200
# In seconds. A younger temporary file may belong to another process that writes the same comparison.
OLDEST_WRITE = 60.0


def write_comparison(folder: Path) -> list[Path]:
    """Writes the three files to the sweep's folder and returns their paths. Raises ConfigError if the folder holds no
    jobs.
    """
    from model.report.sweep_plot import comparison_figure

    jobs = read_jobs(folder)
    if not jobs:
        raise ConfigError(
            f"{folder} holds no jobs of a sweep; allowed: the folder of a sweep (hydra.sweep.dir), with a folder for "
            f"each job in it"
        )
    remove_unfinished(folder, older_than=OLDEST_WRITE)
    comparison = compare_jobs(jobs)
    csv, table, picture = (folder / f"{NAME}.{ending}" for ending in ("csv", "md", "png"))
    write_whole(csv, csv_text(comparison))
    write_whole(table, markdown(comparison, sweep_command(folder)))
    image = io.BytesIO()
    comparison_figure(comparison).savefig(image, format="png", dpi=DOTS_PER_INCH)
    write_whole(picture, image.getvalue())
    return [csv, table, picture]
