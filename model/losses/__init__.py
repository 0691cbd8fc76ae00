"""The losses: `available()` lists their names, and `make_loss(name, …)` returns one; see docs/losses.md."""

from model.losses.make import available, make_loss

__all__ = ["available", "make_loss"]
