"""The formulas by name. The decorator above a formula registers it here; `make.py` builds the loss from the entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from model.losses.score import Score


@dataclass(frozen=True)
class Formula:
    """One loss: a name of `loss=` and what computes it."""

    name: str
    family: str
    """The `family` of conf/loss/<name>.yaml: a key of RECIPES, or that of a new family."""
    score: Callable[[float], Score]
    """Returns the score for an eps."""
    reads: int | None = None
    """The number of leading views that the loss reads; None: all."""
    objective: Callable[..., Any] | None = None
    """Returns the ContrastiveLoss for (evaluator, seed, CommonKeywords); None: see `make_loss`."""


class CommonKeywords(TypedDict):
    """The keywords of every ContrastiveLoss."""

    name: str
    mean: bool
    reads: int | None
    notices: tuple[str, ...]


FORMULAS: dict[str, Formula] = {}
# Family -> what adds a formula to it; {name} is the name of the loss.
RECIPES = {
    "gram": "`@gram_score def {name}(s)` in model/losses/formulas/gram.py",
    "gram_pairs": "`@all_pairs_gram_score def {name}(s)` in model/losses/formulas/gram_pairs.py",
    "product": "`@product_score def {name}(product)` in model/losses/formulas/product.py",
    "elementwise": "`@feature_score([...]) def {name}(s)` in model/losses/formulas/elementwise.py",
    "volume": "`@volume_score def {name}(square_volume)` in model/losses/formulas/volume.py",
    "matrix": "`@matrix_score('{name}')` above a class in model/losses/formulas/matrices.py",
    "sampled": "`@objective('{name}', 'sampled', ...)` above a function in model/losses/objective/",
}


def register(formula: Formula) -> None:
    """Adds a formula to FORMULAS. Raises ValueError for a name that is already there."""
    if formula.name in FORMULAS:
        families = f"{FORMULAS[formula.name].family} and {formula.family}"
        raise ValueError(f"loss={formula.name} has two formulas, of the families {families}; allowed: one")
    FORMULAS[formula.name] = formula


def objective(
    name: str, family: str, score: Callable[[float], Score], *, reads: int | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of (evaluator, seed, common keywords) that returns the ContrastiveLoss `name`."""

    def decorate(build: Callable[..., Any]) -> Callable[..., Any]:
        register(Formula(name, family, score, reads, build))
        return build

    return decorate


def missing_formula(name: str, family: str) -> str:
    """Returns the sentence that says how to write the formula of conf/loss/<name>.yaml."""
    new_family = f"a score that registers the name {name} with the family {family}, in model/losses/formulas/"
    return f"loss={name} has no formula; write {RECIPES.get(family, new_family).format(name=name)}"
