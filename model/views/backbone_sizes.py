"""The sizes of a backbone: those of the configuration, or those of the pretrained checkpoint that it names."""

from __future__ import annotations

from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from transformers.activations import ACT2FN

from model.errors import ConfigError, first_line, one_of


class TowerSizes(Protocol):
    """Sizes of the two CLIP towers: keys of conf/backbone."""

    image_size: int
    patch_size: int
    context_length: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    activation: str


class TranslatorSizes(Protocol):
    """Sizes of the encoder-decoder: keys of conf/backbone."""

    context_length: int
    text_width: int
    translator_layers: int
    translator_heads: int
    translator_ffn: int
    translator_activation: str
    translator_dropout: float
    translator_norm: str
    translator_init: str


class BackboneSizes(TowerSizes, TranslatorSizes, Protocol):
    """Sizes of the towers and of the encoder-decoder, and the checkpoint that the towers start from."""

    pretrained: str | None


class BackboneDataclass(BackboneSizes, Protocol):
    """The same as a dataclass, of which `dataclasses.replace` makes a changed copy."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Backbone = TypeVar("Backbone", bound=BackboneDataclass)


def resolved_sizes(backbone: Backbone) -> Backbone:
    """Returns the backbone with the sizes of its pretrained checkpoint, or unchanged if it names none. Raises
    ConfigError for a checkpoint that cannot be read, and for an activation that transformers does not have.
    """
    sizes = replace(backbone, **pretrained_sizes(backbone.pretrained)) if backbone.pretrained else backbone
    for key in ("activation", "translator_activation"):
        one_of(f"backbone.{key}", getattr(sizes, key), sorted(ACT2FN))
    return sizes


def pretrained_sizes(source: str, key: str = "backbone.pretrained") -> dict[str, Any]:
    """Returns the keys of conf/backbone that the checkpoint at `source` decides, which are those of TowerSizes. `key`:
    where the configuration names the checkpoint. Raises ConfigError if the checkpoint cannot be read.
    """
    try:
        config = CLIPConfig.from_pretrained(source)
    # A damaged folder, or one of another model, fails anywhere in transformers' readers, with various errors.
    except Exception as error:
        raise unreadable(source, error, key) from error
    text, vision = config.text_config, config.vision_config
    assert isinstance(text, CLIPTextConfig)
    assert isinstance(vision, CLIPVisionConfig)
    return {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "context_length": text.max_position_embeddings,
        "vision_width": vision.hidden_size,
        "vision_layers": vision.num_hidden_layers,
        "vision_heads": vision.num_attention_heads,
        "text_width": text.hidden_size,
        "text_layers": text.num_hidden_layers,
        "text_heads": text.num_attention_heads,
        "activation": text.hidden_act,
    }


def unreadable(source: str, error: Exception, key: str) -> ConfigError:
    """Returns the error for a checkpoint that transformers cannot open, with the first line of transformers' own
    message.
    """
    reason = first_line(error)
    return ConfigError(f"{key}={source} cannot be read ({reason}); allowed: a hub id or folder of a CLIP model")
