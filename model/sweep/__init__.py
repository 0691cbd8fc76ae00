"""Sweeps: which jobs still have to run, how they resume, and the comparison at the end."""
