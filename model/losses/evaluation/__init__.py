"""Computes scores along lines, or for all tuples."""
