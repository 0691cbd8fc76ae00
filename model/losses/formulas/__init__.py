"""The formulas of the scores, one file for each family."""
