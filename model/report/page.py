"""report/index.html: one file that shows what a run was and what it reached, made from the run's files alone."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from model.data.text import beginning
from model.record.files import write_whole
from model.report import page_parts as parts
from model.report.commands import run_command
from model.report.health_plots import health_pictures
from model.report.page_sections import SECTIONS, Section
from model.report.plots import HEIGHT, WIDTH, legend, missing_glyphs_ignored, training_pictures
from model.report.plots_features import feature_pictures
from model.report.plots_retrieval import retrieval_pictures
from model.report.run_files import Run, read_run

FOLDER, PAGE = "report", "index.html"
# Dots an inch: about two of a screen's for one of the page's; of wide pictures fewer.
RESOLUTION, WIDE_RESOLUTION = 150, 120
# Pictures wider than this, in inches, are drawn as narrow as the others; where they are also higher than this they keep
# their size, folded away.
WIDE, HIGH = 6.0, 6.0
# The most characters of a caption that the page shows.
LONGEST = 500


@dataclass(frozen=True)
class Drawn:
    """A picture, and its PNG file."""

    figure: Figure
    image: bytes


@dataclass(frozen=True)
class Shown:
    """A picture on the page."""

    source: str
    """A data URI."""
    title: str
    alt: str
    width: int
    height: int
    folded: bool


def write_report(folder: Path) -> list[Path]:
    """Writes report/index.html and its pictures as PNG into the run's folder; returns the files. Raises ConfigError
    where it is no run's.
    """
    run = read_run(folder)
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    drawn, failures = draw(run)
    for name, one in drawn.items():
        write_whole(target / f"{name}.png", one.image)
    write_whole(target / PAGE, render(run, drawn, failures))
    return [target / PAGE, *(target / f"{name}.png" for name in drawn)]


def draw(run: Run) -> tuple[dict[str, Drawn], list[str]]:
    """File name without ending -> picture, for everything that the run can show; and a sentence for each picture that
    could not be drawn.
    """
    pictures = {
        **training_pictures(run),
        **retrieval_pictures(run),
        **feature_pictures(run),
        **health_pictures(run.folder),
    }
    drawn, failures = {}, []
    for name, picture in pictures.items():
        try:
            figure = picture()
            if figure is not None:
                drawn[name] = Drawn(fitted(figure), as_png(figure))
        except Exception as error:
            failures.append(f"The picture {name} could not be drawn: {type(error).__name__}: {error}")
            warnings.warn(f"{run.folder}: {failures[-1]}", RuntimeWarning, stacklevel=2)
    return drawn, failures


def fitted(figure: Figure) -> Figure:
    """The figure, made as narrow as the page's others where it is wide and not high."""
    width, height = figure.get_size_inches()
    if width > WIDE and height <= HIGH:
        narrow(figure)
    return figure


def narrow(figure: Figure) -> None:
    """Gives a picture the size of the report's others, its legend below as in those."""
    figure.set_size_inches(WIDTH, HEIGHT)
    for axes in figure.axes:
        if axes.get_legend():
            axes.get_legend().remove()
            legend(axes)


def as_png(figure: Figure) -> bytes:
    """The picture's file."""
    file = io.BytesIO()
    with missing_glyphs_ignored():
        figure.savefig(file, format="png", dpi=WIDE_RESOLUTION if figure.get_figwidth() > WIDE else RESOLUTION)
    return file.getvalue()


def render(run: Run, drawn: Mapping[str, Drawn], failures: Sequence[str]) -> str:
    """The page's text."""
    return template().render(
        title=parts.title(run),
        status=parts.status(run),
        problems=[*parts.problems(run), *failures],
        command=run_command(run),
        facts=parts.facts(run),
        tiles=parts.tiles(run),
        sections=[section for section in (fill(section, run, drawn) for section in SECTIONS) if section],
        config=OmegaConf.to_yaml(OmegaConf.create(run.config)) if run.config else "",
        versions=(run.summary or run.evaluation).get("versions", {}),
        folder=run.folder.resolve().name,
        config_hash=(run.summary or run.evaluation).get("config_hash", ""),
    )


def template() -> Template:
    """page.html, which escapes what it is given."""
    files = FileSystemLoader(Path(__file__).parent)
    return Environment(
        loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html")


def fill(section: Section, run: Run, drawn: Mapping[str, Drawn]) -> dict[str, Any] | None:
    """What the template needs of a section; None where the run has nothing for it."""
    shown = [show(alt, drawn[name]) for name, alt in section.shown(drawn).items()]
    tables = section.tables(run)
    queries = with_pictures(run) if section.examples else []
    if not (shown or tables or queries):
        return None
    note = f"{section.note} {parts.examples_note(run)}".strip() if section.examples else section.note
    return {
        "title": section.title,
        "anchor": section.anchor,
        "note": note,
        "pictures": shown,
        "tables": tables,
        "queries": queries,
    }


def show(alt: str, drawn: Drawn) -> Shown:
    """One picture. Its size in pixels of the page keeps its place while it loads."""
    title = next((axes.get_title() for axes in drawn.figure.axes if axes.get_title()), "")
    width, height = drawn.figure.get_size_inches()
    return Shown(data_uri(drawn.image), title, alt, round(96 * width), round(96 * height), width > WIDE)


def with_pictures(run: Run) -> Sequence[dict[str, Any]]:
    """The queries of examples.json, every hit with its picture inlined (empty where the file is gone)."""
    folder = run.folder / "examples"
    known: dict[str, str] = {}
    for hit in (hit for query in run.examples.get("queries", []) for hit in query["hits"]):
        file = folder / hit["picture"]
        if hit["picture"] not in known:
            known[hit["picture"]] = data_uri(file.read_bytes()) if file.is_file() else ""
    return [
        {
            "caption": beginning(query["caption"], LONGEST),
            "hits": [{**hit, "source": known[hit["picture"]]} for hit in query["hits"]],
        }
        for query in run.examples.get("queries", [])
    ]


def data_uri(image: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
