"""Recomputes the activations of submodules, chosen by name, in the backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def outermost(module: nn.Module, word: str, path: str = "") -> Iterator[nn.Module]:
    """Yields the submodules whose dotted name or class name contains `word`, without those inside such a submodule. A
    container that is not called itself, such as a ModuleList, is replaced by its members.
    """
    for name, child in module.named_children():
        full = f"{path}{name}"
        called = type(child).forward is not nn.Module.forward
        if called and (word in full or word in type(child).__name__):
            yield child
        else:
            yield from outermost(child, word, f"{full}.")


def is_checkpointed(module: nn.Module) -> bool:
    """Whether `recompute` has been called with the module."""
    return getattr(module.forward, "func", None) is checkpoint


def recompute(module: nn.Module) -> None:
    """Makes the module drop its activations in the forward pass and compute them again in the backward pass."""
    module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def checkpoint_submodules(model: nn.Module, words: Sequence[str]) -> None:
    """Calls `recompute` once with every submodule whose dotted name or class name contains one of `words`. Gives a
    UserWarning if there is no such submodule.
    """
    matching = [module for word in words for module in outermost(model, word)]
    if not matching:
        warnings.warn(
            f"no submodule's dotted name or class name contains one of {', '.join(words)}", UserWarning, stacklevel=4
        )
    for module in matching:
        if not is_checkpointed(module):
            recompute(module)
