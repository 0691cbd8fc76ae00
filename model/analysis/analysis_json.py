"""Writes analysis.json, cka.npz and examples/ at the end of a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from model.analysis.examples import write_examples
from model.analysis.parts import ALL_THREADS, PARTS, AnalysedRun
from model.analysis.threads import a_core_left_to
from model.record.disk import write_failure
from model.record.summary import write_summary


def write_analysis(run: AnalysedRun) -> None:
    """Computes the parts that are switched on and writes them. A part without a meaning for these data is absent.

    A part that fails is also absent: analysis.json has the reason under `notes`, and a warning gives it. Raises OSError
    if the file system refuses a file, for example because the disk is full.
    """
    settings = run.settings
    results: dict[str, Any] = {}
    notes: dict[str, str] = {}

    def attempt(name: str, compute: Callable[[], Any]) -> None:
        results[name] = None
        try:
            results[name] = compute()
        except Exception as error:
            if write_failure(error, settings.folder):
                raise
            notes[name] = f"{type(error).__name__}: {error}"

    for name in ALL_THREADS:
        if name in settings.parts:
            attempt(name, partial(PARTS[name], run))
    run.side.begin()
    with a_core_left_to(run.side):
        for name in settings.parts:
            if name not in ALL_THREADS:
                attempt(name, partial(PARTS[name], run))
        if settings.examples:
            folder = settings.folder / "examples"
            arguments = (run.features, settings.held_out, folder, settings.examples, settings.seed)
            attempt("examples", partial(write_examples, *arguments))
    for name, later in [(name, result) for name, result in results.items() if callable(result)]:
        attempt(name, later)
    order = [name for name in (*settings.parts, "examples") if results.get(name)]
    body = {"views": run.features.names, **{name: results[name] for name in order}}
    write_summary(settings.folder / "analysis.json", {**body, **({"notes": notes} if notes else {})})
    for name, reason in notes.items():
        warnings.warn(
            f"analysis.{name} failed and is left out of analysis.json: {reason}", RuntimeWarning, stacklevel=2
        )
