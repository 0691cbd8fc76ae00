"""Old module names, for code written against the original files. A module keeps its names, signatures and figures, and
every name warns once that another replaces it.

Where `model.losses` and `model.health` give the original's figure, the old names call them; the rest is arithmetic that
only the old names need. `model/__init__.py` puts this folder on the package's path, so that `import
model.LossCalculation` finds it. To remove the old names, delete the folder and that line.
"""
