"""The formulas of the scores, one file for each family.

A formula is a function below the decorator of its family; the decorator makes it the loss of the function's name. It is
called with tensors, and once with symbols, from which the compiled loops are generated. It may use +, -, *, /, integer
powers, `abs`, `clamp`, and `safe_sqrt` and `safe_power` of numerics.py. docs/extending.md adds a loss step by step.
"""
