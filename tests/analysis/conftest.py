"""Fixtures of the tests of the analysis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model.config.schema import RunConfig


@pytest.fixture
def small(small) -> Callable[..., RunConfig]:
    """The configuration of the smallest run, with its analysis."""
    return lambda *overrides: small(*([] if "analysis=off" in overrides else ["analysis=standard"]), *overrides)
