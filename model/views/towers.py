"""The two CLIP towers, from transformers' `CLIPModel`: built from sizes, or loaded with weights.

Shapes: B rows, T tokens, D features of the text tower, P features of the common space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig
from transformers.masking_utils import create_causal_mask

from model.errors import ConfigError, first_line


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that the tokeniser uses: begin, end and pad; and how many ids it has."""

    begin: int
    end: int
    pad: int
    vocabulary: int


class Towers(nn.Module):
    """Image and text tower with their projections into the common space. CLIPModel's own logit scale is left out: the
    loss has one.
    """

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.vision = clip.vision_model
        self.visual_projection = clip.visual_projection
        self.text = clip.text_model
        self.text_projection = clip.text_projection
        self.width = clip.config.text_config.hidden_size
        self.features = clip.config.projection_dim

    @property
    def token_embedding(self) -> Tensor:
        """(V, D), one row per token of the vocabulary."""
        return self.text.embeddings.token_embedding.weight

    def image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) pictures -> (B, P) features."""
        return self.visual_projection(self.vision(pixel_values=images).pooler_output)

    def caption(self, tokens: Tensor, end: Tensor) -> Tensor:
        """(B, T) tokens and the (B,) position of their end token -> (B, P) features of that row."""
        # The embedding layer, not an index: only its gradient sums repeated tokens in a fixed order.
        return self.project(at_rows(self.read(self.text.embeddings.token_embedding(tokens)), end))

    def read(self, embeddings: Tensor) -> Tensor:
        """(B, T, D) token embeddings -> (B, T, D): positions added, the causal transformer, the final norm."""
        hidden = self.text.embeddings(inputs_embeds=embeddings)
        # By position: transformers 5.24 has renamed the last argument, the cache of keys and values.
        mask = create_causal_mask(self.text.config, hidden, None, None)
        hidden = self.text.encoder(inputs_embeds=hidden, attention_mask=mask, is_causal=True).last_hidden_state
        return self.text.final_layer_norm(hidden)

    def project(self, rows: Tensor) -> Tensor:
        """(B, D) rows of the text transformer -> (B, P) features."""
        return self.text_projection(rows)


def at_rows(states: Tensor, positions: Tensor) -> Tensor:
    """(B, T, D) states, (B,) positions -> (B, D): row positions[b] of sample b."""
    return states[torch.arange(len(states), device=states.device), positions]


def end_positions(tokens: Tensor, end: int) -> Tensor:
    """(B, T) tokens -> (B,) position of the first `end` token (0 where there is none)."""
    return (tokens == end).int().argmax(dim=1)


def build_towers(sizes, tokens: SpecialTokens) -> Towers:
    """New towers; `sizes` has the fields of BackboneConfig. The common space has the text tower's width."""
    text = CLIPTextConfig(
        vocab_size=tokens.vocabulary,
        hidden_size=sizes.text_width,
        intermediate_size=4 * sizes.text_width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=sizes.context_length,
        hidden_act=sizes.activation,
        projection_dim=sizes.text_width,
        bos_token_id=tokens.begin,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
    )
    vision = CLIPVisionConfig(
        hidden_size=sizes.vision_width,
        intermediate_size=4 * sizes.vision_width,
        num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.vision_heads,
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        hidden_act=sizes.activation,
        projection_dim=sizes.text_width,
    )
    return Towers(
        CLIPModel(
            CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=sizes.text_width)
        )
    )


def load_towers(source: str, tokens: SpecialTokens, key: str = "backbone.pretrained") -> Towers:
    """Towers with the weights of the CLIP checkpoint at `source` (hub id or folder), which stands in the configuration
    under `key`.

    Weights that are stored in a half precision become float32, in which they are trained.

    Raises ConfigError when it cannot be read or lacks weights, when the tokeniser is not its own, or when its common
    space is not as wide as its text tower.
    """
    try:
        clip, loading = CLIPModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    # A damaged or foreign folder fails anywhere in the readers of transformers and safetensors, with various errors.
    except Exception as error:
        raise unreadable(source, error, key) from error
    if loading["missing_keys"]:
        first, *others = sorted(loading["missing_keys"])
        lacks = f"lacks {first}" + (f" and {len(others)} more weights" if others else "")
        raise ConfigError(f"{key}={source} {lacks}; allowed: a hub id or folder of a CLIP model")
    vocabulary = clip.config.text_config.vocab_size
    if tokens.vocabulary > vocabulary:
        raise ConfigError(
            f"data.tokenizer has {tokens.vocabulary} tokens, {key}={source} {vocabulary}; allowed: its own tokeniser"
        )
    width, features = clip.config.text_config.hidden_size, clip.config.projection_dim
    if width != features:
        raise ConfigError(
            f"{key}={source} projects {width} text features to {features}; allowed: CLIP models where both are equal"
        )
    return Towers(clip.train())  # from_pretrained leaves it in evaluation mode


def pretrained_sizes(source: str, key: str = "backbone.pretrained") -> dict[str, int | str]:
    """The fields of BackboneConfig that the checkpoint at `source` decides. Raises ConfigError when it cannot be
    read.
    """
    try:
        config = CLIPConfig.from_pretrained(source)
    except Exception as error:  # see `load_towers`
        raise unreadable(source, error, key) from error
    text, vision = config.text_config, config.vision_config
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
    """The error for a checkpoint that transformers cannot open; of its own text only the first line helps."""
    reason = first_line(error)
    return ConfigError(f"{key}={source} cannot be read ({reason}); allowed: a hub id or folder of a CLIP model")
