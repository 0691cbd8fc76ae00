"""The sizes of a backbone: those of the configuration, or of the pretrained checkpoint that it names."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from transformers.activations import ACT2FN

from model.errors import one_of
from model.views.towers import pretrained_sizes

Backbone = TypeVar("Backbone")


def resolved_sizes(backbone: Backbone) -> Backbone:
    """The backbone with the sizes of its pretrained checkpoint, where there is one. Raises ConfigError for an
    activation that transformers lacks.
    """
    sizes = replace(backbone, **pretrained_sizes(backbone.pretrained)) if backbone.pretrained else backbone
    for key in ("activation", "translator_activation"):
        one_of(f"backbone.{key}", getattr(sizes, key), sorted(ACT2FN))
    return sizes
