"""C++ for CPUs, generated from the formulas. Without a compiler, everything runs on torch operations."""
