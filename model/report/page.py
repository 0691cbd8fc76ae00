"""Writes report/index.html, a page that shows the settings and the results of a run. It is made from the run's files
alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from omegaconf import OmegaConf

from model.data.text import beginning
from model.record.files import write_whole
from model.report import page_header
from model.report.commands import run_command
from model.report.page_sections import SECTIONS, Section
from model.report.page_tables import examples_note
from model.report.pictures import WIDE, Picture, Pictures, draw_all
from model.report.run_files import Run, read_run
from model.side_process import SideProcess

FOLDER, PAGE = "report", "index.html"
# The largest number of characters of a caption on the page.
LONGEST = 500


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


def write_report(
    folder: Path, side: SideProcess | None = None, started: Sequence[Callable[[], Pictures]] = ()
) -> list[Path]:
    """Writes report/index.html and its pictures as PNG files to the run's folder; returns their paths. Raises
    ConfigError if the folder is not a run's.

    side: draws a part of the pictures; started: see `draw_all`.
    """
    run = read_run(folder)
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    pictures = draw_all(run, side or SideProcess(), started)
    for name, picture in pictures.drawn.items():
        write_whole(target / f"{name}.png", picture.image)
    write_whole(target / PAGE, render(run, pictures.drawn, list(pictures.failures.values())))
    return [target / PAGE, *(target / f"{name}.png" for name in pictures.drawn)]


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
    """Returns a picture for the template."""
    width, height = round(96 * picture.width), round(96 * picture.height)
    return PagePicture(data_uri(picture.image), picture.title, alt, width, height, picture.width > WIDE)


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
