"""The pictures of a run's report: how they are drawn, in one process or two, and written as PNG files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from model.report.health_plots import Drawing, health_pictures
from model.report.plots import HEIGHT, WIDTH, legend, missing_glyphs_ignored, training_pictures
from model.report.plots_features import feature_pictures
from model.report.plots_retrieval import retrieval_pictures
from model.report.run_files import Run, read_run
from model.side_process import SideProcess

# Dots per inch: about two pixels of the picture for one pixel of the page. Wide pictures have fewer.
RESOLUTION, WIDE_RESOLUTION = 150, 120
# In inches. Pictures that are wider are drawn as narrow as the others; if they are also higher, they keep their size
# and are folded.
WIDE, HIGH = 6.0, 6.0


@dataclass(frozen=True)
class Picture:
    """A picture of the report."""

    image: bytes
    """The PNG file."""
    title: str
    """The first title of its axes; empty if no axes have one."""
    width: float
    height: float
    """Width and height in inches."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run, or a part of them. The keys are file names without ending."""

    drawn: dict[str, Picture]
    failures: dict[str, str]
    """A sentence for each picture that could not be drawn."""

    def __contains__(self, name: object) -> bool:
        return name in self.drawn or name in self.failures


def drawings(run: Run) -> dict[str, Drawing]:
    """Returns file name without ending -> function that draws the picture."""
    return {
        **training_pictures(run),
        **retrieval_pictures(run),
        **feature_pictures(run),
        **health_pictures(run.folder),
    }


def start_before_analysis(folder: Path, side: SideProcess) -> list[Callable[[], Pictures]]:
    """Starts to draw the pictures of a run that need no file of the analysis, each in a call of its own. Returns
    functions that wait for them.
    """
    run = replace(read_run(folder), analysis={}, cka={}, examples={})
    return [side.start(draw, run, [name]) for name in drawings(run)]


def draw_all(run: Run, side: SideProcess, started: Sequence[Callable[[], Pictures]] = ()) -> Pictures:
    """Draws all pictures for which the run has data, in this process and the side process.

    started: the result of `start_before_analysis`, if it was called earlier.
    """
    early = collected(started)
    late = collected([side.start(draw, run, [name]) for name in drawings(run) if name not in early])
    drawn = {**early.drawn, **late.drawn}
    order = [name for name in drawings(run) if name in drawn]
    return Pictures({name: drawn[name] for name in order}, {**early.failures, **late.failures})


def collected(started: Sequence[Callable[[], Pictures]]) -> Pictures:
    """Waits for pictures."""
    parts = [part() for part in started]
    return Pictures(
        {name: picture for part in parts for name, picture in part.drawn.items()},
        {name: text for part in parts for name, text in part.failures.items()},
    )


def draw(run: Run, names: Container[str]) -> Pictures:
    """Draws the pictures in `names` for which the run has data. A picture that cannot be drawn is a warning."""
    pictures = Pictures({}, {})
    for name, drawing in drawings(run).items():
        if name not in names:
            continue
        try:
            figure = drawing()
            if figure is not None:
                pictures.drawn[name] = painted(figure)
        except Exception as error:
            failure = f"The picture {name} could not be drawn: {type(error).__name__}: {error}"
            pictures.failures[name] = failure
            warnings.warn(f"{run.folder}: {failure}", RuntimeWarning, stacklevel=2)
    return pictures


def painted(figure: Figure) -> Picture:
    """Returns the figure as a picture of the report."""
    narrow_if_wide(figure)
    width, height = figure.get_size_inches()
    title = next((axes.get_title() for axes in figure.axes if axes.get_title()), "")
    return Picture(as_png(figure), title, width, height)


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
