"""Measures of trained features: arrays in, numbers out."""
