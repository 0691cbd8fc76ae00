"""Sweeps: what a finished or interrupted job leaves to do, and the comparison at the end."""
