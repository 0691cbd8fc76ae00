"""C++ for CPUs, generated from the formulas and compiled at run time. Without a compiler everything runs in torch."""
