"""Reports of runs and comparisons of sweeps. They read files only, never live objects, so that they can be made
again.
"""
