"""Writes report/index.html, a page that shows the settings and the results of a run. It is made from the run's files
alone.
"""

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
from model.report import page_header
from model.report.commands import run_command
from model.report.health_plots import health_pictures
from model.report.page_sections import SECTIONS, Section
from model.report.page_tables import examples_note
from model.report.plots import HEIGHT, WIDTH, legend, missing_glyphs_ignored, training_pictures
from model.report.plots_features import feature_pictures
from model.report.plots_retrieval import retrieval_pictures
from model.report.run_files import Run, read_run

FOLDER, PAGE = "report", "index.html"
# Dots per inch: about two pixels of the picture for one pixel of the page. Wide pictures have fewer.
RESOLUTION, WIDE_RESOLUTION = 150, 120
# In inches. Pictures that are wider are drawn as narrow as the others; if they are also higher, they keep their size
# and are folded.
WIDE, HIGH = 6.0, 6.0
# The largest number of characters of a caption on the page.
LONGEST = 500


@dataclass(frozen=True)
class Picture:
    """A figure and the bytes of its PNG file."""

    figure: Figure
    image: bytes


@dataclass(frozen=True)
class PagePicture:
    """What the template needs to show a picture."""

    source: str
    """The PNG file as a data URI."""
    title: str
    alt: str
    width: int
    height: int
    """Width and height in pixels of the page. They reserve the space while the picture loads."""
    folded: bool


def write_report(folder: Path) -> list[Path]:
    """Writes report/index.html and its pictures as PNG files to the run's folder; returns their paths. Raises
    ConfigError if the folder is not a run's.
    """
    run = read_run(folder)
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    pictures, failures = draw(run)
    for name, picture in pictures.items():
        write_whole(target / f"{name}.png", picture.image)
    write_whole(target / PAGE, render(run, pictures, failures))
    return [target / PAGE, *(target / f"{name}.png" for name in pictures)]


def draw(run: Run) -> tuple[dict[str, Picture], list[str]]:
    """Draws all pictures for which the run has data. Returns file name without ending -> picture, and a sentence for
    each picture that could not be drawn.
    """
    drawings = {
        **training_pictures(run),
        **retrieval_pictures(run),
        **feature_pictures(run),
        **health_pictures(run.folder),
    }
    pictures, failures = {}, []
    for name, drawing in drawings.items():
        try:
            figure = drawing()
            if figure is not None:
                narrow_if_wide(figure)
                pictures[name] = Picture(figure, as_png(figure))
        except Exception as error:
            failures.append(f"The picture {name} could not be drawn: {type(error).__name__}: {error}")
            warnings.warn(f"{run.folder}: {failures[-1]}", RuntimeWarning, stacklevel=2)
    return pictures, failures


def narrow_if_wide(figure: Figure) -> None:
    """Gives a figure that is wide and not high the size of the report's other figures, with the legend below
    the axes.
    """
    width, height = figure.get_size_inches()
    if width <= WIDE or height > HIGH:
        return
    figure.set_size_inches(WIDTH, HEIGHT)
    for axes in figure.axes:
        earlier_legend = axes.get_legend()
        if earlier_legend is not None:
            earlier_legend.remove()
            legend(axes)


def as_png(figure: Figure) -> bytes:
    """Returns the bytes of the figure's PNG file."""
    file = io.BytesIO()
    figure.set_dpi(WIDE_RESOLUTION if figure.get_figwidth() > WIDE else RESOLUTION)
    with missing_glyphs_ignored():
        lay_out(figure)
        figure.savefig(file, format="png", dpi=figure.dpi)
    return file.getvalue()


def lay_out(figure: Figure) -> None:
    """Computes and fixes the places of the axes and legends of a figure. Where they are not fixed, Matplotlib draws the
    figure a second time when it saves it.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def render(run: Run, pictures: Mapping[str, Picture], failures: Sequence[str]) -> str:
    """Returns the HTML of the page. failures: sentences about pictures that could not be drawn."""
    return template().render(
        title=page_header.title(run),
        status=page_header.status(run),
        problems=[*page_header.problems(run), *failures],
        command=run_command(run),
        facts=page_header.facts(run),
        key_numbers=page_header.key_numbers(run),
        sections=[section for section in (fill(section, run, pictures) for section in SECTIONS) if section],
        config=OmegaConf.to_yaml(OmegaConf.create(run.config)) if run.config else "",
        versions=(run.summary or run.evaluation).get("versions", {}),
        folder=run.folder.resolve().name,
        config_hash=(run.summary or run.evaluation).get("config_hash", ""),
    )


def template() -> Template:
    """Returns the template page.html, which escapes all values."""
    files = FileSystemLoader(Path(__file__).parent)
    return Environment(
        loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html")


def fill(section: Section, run: Run, pictures: Mapping[str, Picture]) -> dict[str, Any] | None:
    """Returns what the template needs for a section; None if the run has no data for it."""
    page_pictures = [page_picture(alt, pictures[name]) for name, alt in section.select(pictures).items()]
    tables = section.tables(run)
    queries = queries_with_pictures(run) if section.examples else []
    if not (page_pictures or tables or queries):
        return None
    note = f"{section.note} {examples_note(run)}".strip() if section.examples else section.note
    return {
        "title": section.title,
        "anchor": section.anchor,
        "note": note,
        "pictures": page_pictures,
        "tables": tables,
        "queries": queries,
    }


def page_picture(alt: str, picture: Picture) -> PagePicture:
    """Returns a picture for the template; its title is the first title of its axes."""
    title = next((axes.get_title() for axes in picture.figure.axes if axes.get_title()), "")
    width, height = picture.figure.get_size_inches()
    return PagePicture(data_uri(picture.image), title, alt, round(96 * width), round(96 * height), width > WIDE)


def queries_with_pictures(run: Run) -> Sequence[dict[str, Any]]:
    """Returns the queries of examples.json. Each hit has its picture as a data URI, empty if the file is missing."""
    folder = run.folder / "examples"
    uris: dict[str, str] = {}
    for hit in (hit for query in run.examples.get("queries", []) for hit in query["hits"]):
        file = folder / hit["picture"]
        if hit["picture"] not in uris:
            uris[hit["picture"]] = data_uri(file.read_bytes()) if file.is_file() else ""
    return [
        {
            "caption": beginning(query["caption"], LONGEST),
            "hits": [{**hit, "source": uris[hit["picture"]]} for hit in query["hits"]],
        }
        for query in run.examples.get("queries", [])
    ]


def data_uri(image: bytes) -> str:
    """Returns the PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
