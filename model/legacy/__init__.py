"""Old module names, for code written against the original files. No maths: every name calls its replacement and says so once.

`model/__init__.py` puts this folder on the package's path, so that `import model.LossCalculation` finds it; to drop the old
names, delete the folder and that line.
"""
