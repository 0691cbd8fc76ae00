"""Old module names, for code that was written against the original files. Each module keeps its names, signatures and
figures, and every name gives one warning that names its replacement.

The old names call `model.losses` and `model.health` if these give the original's figure. The rest of this folder is
arithmetic that only the old names need. `model/__init__.py` adds this folder to the path of the package, so that
`import model.LossCalculation` finds it. To remove the old names, delete the folder and that line.
"""
