"""Checkpoints: writing them so that a kill leaves a complete file, checking them, and resuming from them exactly."""
