"""Smallest values of sizes that other parts of the program need: one less is refused, the value itself accepted."""

from __future__ import annotations

import pytest

from model.errors import ConfigError

SMALLEST = {
    "data.vocab_size": 300,  # 256 bytes and the special tokens
    "backbone.context_length": 4,  # begin, two tokens, end
}


@pytest.mark.parametrize("key", SMALLEST)
def test_the_smallest_size(small, key):
    least = SMALLEST[key]
    with pytest.raises(ConfigError, match=rf"^{key}={least - 1} is too small; allowed: {least} to "):
        small(f"{key}={least - 1}")
    group, name = key.split(".")
    assert getattr(getattr(small(f"{key}={least}"), group), name) == least
