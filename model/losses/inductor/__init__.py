"""Computes losses with torch.compile: its compiler, Inductor, fuses a formula, the softmax and all derivatives."""
