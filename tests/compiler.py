"""What tests of compiled code do on a machine without a C++ compiler."""

from __future__ import annotations

import os

import pytest

from model.losses.compiled import native


def require_compiler() -> None:
    """Skips the test where C++ cannot be compiled; fails it where the environment says CI=true."""
    problem = native.problem()
    if problem is not None:
        reason = f"needs a C++ compiler: {problem}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
