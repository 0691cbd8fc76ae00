"""analysis.json and what belongs to it, at the end of a run. What fails is noted there and warned of; the rest is
written all the same. Only an error of the file system ends it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from model.analysis.examples import write_examples
from model.analysis.material import Material
from model.analysis.parts import PARTS, Settings
from model.record.disk import write_failure
from model.record.summary import write_summary


def write_analysis(material: Material, settings: Settings) -> None:
    """Makes every part that the configuration asks for; parts without a meaning here are absent."""
    body: dict[str, object] = {"views": material.names}
    notes: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], dict | None]) -> None:
        try:
            made = make()
        except Exception as error:
            if write_failure(error, settings.folder):
                raise
            notes[name] = f"{type(error).__name__}: {error}"
        else:
            body.update({name: made} if made else {})

    for name, part in PARTS.items():
        if getattr(settings.config, name):
            attempt(name, lambda part=part: part(material, settings))
    if settings.config.examples:
        folder = settings.folder / "examples"
        attempt(
            "examples",
            lambda: write_examples(material, settings.held_out, folder, settings.config.examples, settings.seed),
        )
    write_summary(settings.folder / "analysis.json", {**body, **({"notes": notes} if notes else {})})
    for name, reason in notes.items():
        warnings.warn(
            f"analysis.{name} failed and is left out of analysis.json: {reason}", RuntimeWarning, stacklevel=2
        )
