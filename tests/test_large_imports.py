"""Imports with a paused garbage collector: the collector works again afterwards, also after an error."""

from __future__ import annotations

import gc

import pytest

from model.imports import large_imports


@pytest.fixture(autouse=True)
def unfrozen():
    """Gives the objects of other tests back to the collector."""
    yield
    gc.enable()
    gc.unfreeze()


def test_the_collector_pauses_and_then_ignores_what_exists():
    gc.unfreeze()
    with large_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000


def test_the_collector_works_again_after_an_error():
    with pytest.raises(ImportError), large_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with large_imports():
        pass
    assert not gc.isenabled()
