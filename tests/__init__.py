"""The regression suite. A package of its own, because some installed ones bring a top-level `tests` too."""
