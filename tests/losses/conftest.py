"""Fixtures of the tests of losses."""

from __future__ import annotations

import pytest

from tests.compiler import require_compiler


@pytest.fixture
def compiler() -> None:
    """For tests that need a C++ compiler, see `require_compiler`."""
    require_compiler()
