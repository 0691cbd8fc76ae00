"""Formats numbers for a run's page."""

from __future__ import annotations

import math


def share_with_interval(figures: dict[str, float] | None) -> str:
    """Returns `share|low–high`, where the part after `|` is a small second line; a dash if there is no figure."""
    if not figures or figures.get("value") is None:
        return "–"
    low, high = figures.get("low"), figures.get("high")
    return share(figures["value"]) + (f"|{share(low)}–{share(high)}" if low is not None and high is not None else "")


def share(value: float | None) -> str:
    """Returns the value with three decimals; a dash if there is no figure."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def number(value: float | None) -> str:
    """Returns a whole number with all digits, and other numbers with four significant digits; a dash if there is no
    figure.
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == round(value) else f"{value:#.4g}".removesuffix(".")


def rank(value: float | None) -> str:
    """Returns a median rank, which is a whole number or a half; a dash if there is no figure."""
    return "–" if value is None else f"{value:,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Returns seconds below ten minutes (205 s), minutes below two hours (14 min), and otherwise hours (2.2 h)."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(value: int) -> str:
    """Returns all digits below a million (739,905), and otherwise millions (151.3 million)."""
    return f"{value:,}" if value < 1e6 else f"{value / 1e6:,.1f} million"
