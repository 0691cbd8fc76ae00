"""Trained models outside a run: `from model import load`."""
