"""Which views a sample has: one recipe for each value of `model=`. This module needs no torch, so that a configuration
is checked without it.

How to add a recipe:

1. Write a function below with the decorator `@recipe`. It takes the number of captions and returns a ViewPlan. The name
   of the function is the value of `model=`.
2. Write conf/model/<name>.yaml. Its first line describes the views and their number. Its defaults are `_schema`,
   `_keys` and `_self_`; in place of `_schema`, `_schema_translated` has the key token_select and `_schema_decoded` has
   the key eot_select. The file sets `name: <name>`.

`python -m model.config.document` then writes the new choice into docs/configuration.md. A test fails if the function
or the YAML file is missing. A new kind of view also needs a member of `Kind` and a method of ViewEncoder that computes
its features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from model.errors import one_of


class Kind(Enum):
    """How a caption becomes a view. The value is the first part of the view's name."""

    CAPTION = "caption"
    """The caption through the text tower."""
    TRANSLATED = "translated"
    """The caption translated into token embeddings, then through the text tower."""
    DECODED = "decoded"
    """The decoder's states of the caption, through the text transformer."""
    ENCODED = "encoded"
    """The encoder's state at the caption's end token. The decoded view of the same caption must stand before it."""


class CaptionView(NamedTuple):
    """A view that is computed from one caption."""

    kind: Kind
    caption: int
    """The number of the caption, counted from 0."""


@dataclass(frozen=True)
class ViewPlan:
    """The views of a sample. The image is always the first view; those of `views` follow in their order."""

    views: tuple[CaptionView, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for an encoded view without the decoded view of the same caption before it, because a
        decoder without a gradient stalls a run of several processes.
        """
        for position, view in enumerate(self.views):
            needed = CaptionView(Kind.DECODED, view.caption)
            if view.kind is Kind.ENCODED and needed not in self.views[:position]:
                raise ValueError(f"{view_name(view)} has no {view_name(needed)} before it; add that view to the recipe")

    @property
    def names(self) -> tuple[str, ...]:
        """One name per view, in order: image, caption_1, decoded_2, …"""
        return ("image", *map(view_name, self.views))

    @property
    def captions(self) -> int:
        """The number of captions that a sample must have: 1 + the largest number of a caption that is used."""
        return 1 + max(view.caption for view in self.views)

    def captions_of(self, kind: Kind) -> list[int]:
        """Returns the captions that have a view of this kind, in order."""
        return [view.caption for view in self.views if view.kind is kind]

    def first(self, count: int) -> ViewPlan:
        """Returns the plan with the first `count` views only, the image included."""
        return ViewPlan(self.views[: count - 1])


Recipe = Callable[[int], ViewPlan]
RECIPES: dict[str, Recipe] = {}


def recipe(function: Recipe) -> Recipe:
    """Decorator: makes the function a value of `model=`, under its name."""
    RECIPES[function.__name__] = function
    return function


def plan_views(model: str, captions: int, reads: int | None = None) -> ViewPlan:
    """Returns the plan of the recipe `model` for a number of captions. Raises ConfigError for a name without a recipe.

    reads: the number of first views that the loss reads; the plan has only these. None: all views.
    """
    one_of("model", model, tuple(RECIPES))
    plan = RECIPES[model](captions)
    return plan if reads is None else plan.first(reads)


def view_name(view: CaptionView) -> str:
    """Returns the name of a view: caption_1, decoded_2, …"""
    return f"{view.kind.value}_{view.caption + 1}"


def views_of(kind: Kind, captions: Iterable[int]) -> tuple[CaptionView, ...]:
    """Returns one view of this kind for each of the captions."""
    return tuple(CaptionView(kind, caption) for caption in captions)


@recipe
def clip(captions: int) -> ViewPlan:
    """Plans image and captions, all captions through the text tower: captions + 1 views."""
    return ViewPlan(views_of(Kind.CAPTION, range(captions)))


@recipe
def v5335dim(captions: int) -> ViewPlan:
    """Plans image, caption 1, and each further caption translated: captions + 1 views (the original
    `trainclip_v5335DIM`).
    """
    return ViewPlan(views_of(Kind.CAPTION, [0]) + views_of(Kind.TRANSLATED, range(1, captions)))


@recipe
def v534dim(captions: int) -> ViewPlan:
    """Plans image, caption 1, then each further caption decoded, then each of them encoded: 2 * captions views (the
    original `trainclip_v534DIM`).
    """
    further = range(1, captions)
    return ViewPlan(views_of(Kind.CAPTION, [0]) + views_of(Kind.DECODED, further) + views_of(Kind.ENCODED, further))
