"""The regression suite. This folder is a package, because some installed packages also have a top-level `tests`."""
