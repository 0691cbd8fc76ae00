"""The typed groups of conf/ that describe the model: `model` and `backbone`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """conf/model: the views of a sample (see docs/quickstart.md)."""

    name: str = MISSING
    captions: int = MISSING
    projection: str = MISSING


@dataclass
class DecodedModelConfig(ModelConfig):
    """model=v534dim: image, caption 1, decoded and encoded captions."""

    eot_select: str = MISSING


@dataclass
class TranslatedModelConfig(ModelConfig):
    """model=v5335dim: image, caption 1, translated captions."""

    token_select: str = MISSING


@dataclass
class BackboneConfig:
    """conf/backbone: the sizes of the two CLIP towers and of the encoder-decoder."""

    name: str = MISSING
    pretrained: str | None = MISSING
    image_size: int = MISSING
    patch_size: int = MISSING
    context_length: int = MISSING
    vision_width: int = MISSING
    vision_layers: int = MISSING
    vision_heads: int = MISSING
    text_width: int = MISSING
    text_layers: int = MISSING
    text_heads: int = MISSING
    activation: str = MISSING
    translator_layers: int = MISSING
    translator_heads: int = MISSING
    translator_ffn: int = MISSING
    translator_activation: str = MISSING
    translator_dropout: float = MISSING
    translator_norm: str = MISSING
    translator_init: str = MISSING
    lr: float = MISSING
    freeze: list[str] = field(default_factory=list)
