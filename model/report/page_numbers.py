"""Numbers as a run's page writes them."""

from __future__ import annotations

import math


def interval(figures: dict[str, float] | None) -> str:
    """A share and, in small, its interval."""
    if not figures or figures.get("value") is None:
        return "–"
    low, high = figures.get("low"), figures.get("high")
    return share(figures["value"]) + (f"|{share(low)}–{share(high)}" if low is not None and high is not None else "")


def share(value: float | None) -> str:
    """Three digits after the point; a dash where there is no figure."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def number(value: float | None) -> str:
    """Whole numbers as they are, others with four significant digits; a dash where there is no figure."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == round(value) else f"{value:#.4g}".removesuffix(".")


def rank(value: float | None) -> str:
    """A median: whole, or a half."""
    return "–" if value is None else f"{value:,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """For people: 205 s below ten minutes, 14 min below two hours, then 2.2 h."""
    return (
        f"{seconds:.0f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def count(value: int) -> str:
    """739,905 below a million, then 151.3 million."""
    return f"{value:,}" if value < 1e6 else f"{value / 1e6:,.1f} million"
