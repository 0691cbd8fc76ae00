"""Fixtures shared by the tests of this folder."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec

import pytest


@pytest.fixture
def pillow_warnings_ignored() -> None:
    """Puts the program's filter for Pillow's warnings, which the module sets where it is loaded, in front of pytest's."""
    spec = find_spec("model.data.pictures")
    spec.loader.exec_module(module_from_spec(spec))
