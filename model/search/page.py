"""The page of a search: one HTML file that contains its pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from model.data.pictures import NotReadable, read_reduced
from model.data.text import clean, escape
from model.record.disk import writing
from model.record.files import write_whole
from model.search.hits import Hit

# The longer side of a picture on the page, in pixels.
SIDE = 224
QUALITY = 85


@dataclass(frozen=True)
class PageHit:
    """What the template needs to show a picture that was found."""

    rank: int
    score: str
    path: str
    source: str
    """The picture as a data URI; empty if it can no longer be read."""
    width: int
    height: int


def write_page(file: Path, text: str, hits: Sequence[Hit], run: str) -> None:
    """Writes the page to `file`. Raises NotWritten."""
    with writing(file):
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, render(text, hits, run))


def render(text: str, hits: Sequence[Hit], run: str) -> str:
    """Returns the HTML of the page. All texts are escaped."""
    files = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = [page_hit(rank, hit) for rank, hit in enumerate(hits, 1)]
    return environment.get_template("page.html").render(text=clean(text), hits=shown, run=escape(run))


def page_hit(rank: int, hit: Hit) -> PageHit:
    """Returns a picture for the template."""
    score, path = f"{hit.score:.3f}", escape(hit.path)
    try:
        picture = thumbnail(hit.path)
    except NotReadable:
        return PageHit(rank, score, path, "", 0, 0)
    content = BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
    return PageHit(rank, score, path, source, *picture.size)


def thumbnail(path: str) -> Image.Image:
    """Returns the whole picture at `path`, upright, with no side longer than SIDE pixels. Raises NotReadable."""
    reduced = read_reduced(path, SIDE)
    left, top, right, bottom = (round(side) for side in reduced.extent)
    picture = reduced.image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    return picture
