"""The two CLIP towers of transformers' `CLIPModel`: built from sizes, or loaded with weights.

Shapes: B rows, T tokens, D features of the text tower, P features of the common space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig
from transformers.masking_utils import create_causal_mask

from model.errors import ConfigError
from model.views.backbone_sizes import TowerSizes, unreadable
from model.views.clip_rows import chosen_causal_row, drops, end_row, first_row
from model.views.packing import Packing
from model.views.positions import at_rows
from model.views.translate import chosen_row


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of a tokeniser's special tokens, and the size of its vocabulary."""

    begin: int
    end: int
    pad: int
    vocabulary: int
    """The number of ids."""


class Towers(nn.Module):
    """The image tower and the text tower with their projections into the common space. CLIPModel's own logit scale is
    left out, because NWayClip has one.
    """

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.vision = clip.vision_model
        self.visual_projection = clip.visual_projection
        self.text = clip.text_model
        self.text_projection = clip.text_projection
        self.features: int = clip.visual_projection.out_features

    @property
    def token_embedding(self) -> Tensor:
        """(V, D), one row per token of the vocabulary."""
        return self.text.embeddings.token_embedding.weight

    def image(self, images: Tensor) -> Tensor:
        """Computes (B, P) features of (B, 3, H, W) pictures."""
        if drops(self.vision.encoder):
            return self.visual_projection(self.vision(pixel_values=images).pooler_output)
        states = self.vision.pre_layrnorm(self.vision.embeddings(images))
        return self.visual_projection(self.vision.post_layernorm(first_row(self.vision.encoder, states)))

    def caption(self, tokens: Tensor, end: Tensor) -> Tensor:
        """Computes (B, P) features of (B, T) tokens from the row of the end token. end: its position, (B,)."""
        packing = Packing(end)
        # This uses the embedding layer, not an index: only its backward adds repeated tokens in a fixed order.
        embeddings = self.text.embeddings.token_embedding(tokens[:, : packing.longest])
        return self.project(self.end_row(embeddings, packing))

    def end_row(self, embeddings: Tensor, packing: Packing) -> Tensor:
        """Computes the state at the end token of the token embeddings (B, L, D) of texts: (B, D)."""
        if drops(self.text.encoder):
            missing = self.text.config.max_position_embeddings - embeddings.shape[1]
            return at_rows(self.read(F.pad(embeddings, (0, 0, 0, missing))), packing.end)
        states = packing.pack(self.text.embeddings(inputs_embeds=embeddings))
        return self.text.final_layer_norm(end_row(self.text.encoder, states, packing))

    def chosen_row(self, embeddings: Tensor, weights: Tensor) -> Tensor:
        """Computes the state that one-hot weights (B, T) choose of token embeddings (B, T, D): (B, D). The weights get
        a gradient.
        """
        if drops(self.text.encoder):
            return chosen_row(self.read(embeddings), weights)
        states = self.text.embeddings(inputs_embeds=embeddings)
        return chosen_causal_row(self.text.encoder, self.text.final_layer_norm, states, weights)

    def read(self, embeddings: Tensor) -> Tensor:
        """Computes states (B, T, D) from token embeddings (B, T, D): adds the positions, applies the causal transformer
        and the final norm.
        """
        hidden = self.text.embeddings(inputs_embeds=embeddings)
        # The arguments go by position, because transformers 5.24 renamed the last one, the cache of keys and values.
        mask = create_causal_mask(self.text.config, hidden, None, None)
        hidden = self.text.encoder(inputs_embeds=hidden, attention_mask=mask, is_causal=True).last_hidden_state
        return self.text.final_layer_norm(hidden)

    def project(self, rows: Tensor) -> Tensor:
        """Projects (B, D) rows of the text transformer to (B, P) features."""
        return self.text_projection(rows)


def build_towers(sizes: TowerSizes, tokens: SpecialTokens) -> Towers:
    """Builds towers with new weights. The common space has the width of the text tower."""
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
    """Loads towers with the weights of the CLIP checkpoint at `source`, a hub id or a folder. `key`: where the
    configuration names the checkpoint.

    Weights that are stored in half precision become float32, in which they are trained. Raises ConfigError if the
    checkpoint cannot be read or lacks weights, if the tokeniser has more tokens than the checkpoint, or if the
    checkpoint's common space is not as wide as its text tower.
    """
    clip, loading = read_clip(source, key)
    if loading["missing_keys"]:
        first, *others = sorted(loading["missing_keys"])
        lacks = f"lacks {first}" + (f" and {len(others)} more weights" if others else "")
        raise ConfigError(f"{key}={source} {lacks}; allowed: a hub id or folder of a CLIP model")
    text = clip.config.text_config
    assert isinstance(text, CLIPTextConfig)
    if tokens.vocabulary > text.vocab_size:
        raise ConfigError(
            f"data.tokenizer has {tokens.vocabulary} tokens, {key}={source} {text.vocab_size}; allowed: its own "
            f"tokeniser"
        )
    if text.hidden_size != clip.config.projection_dim:
        raise ConfigError(
            f"{key}={source} projects {text.hidden_size} text features to {clip.config.projection_dim}; allowed: CLIP "
            f"models where both are equal"
        )
    return Towers(clip.train())  # from_pretrained leaves the model in evaluation mode


def read_clip(source: str, key: str) -> tuple[CLIPModel, dict[str, Any]]:
    """Returns the model at `source` in float32, and transformers' report on what was loaded. Raises ConfigError."""
    try:
        loaded: Any = CLIPModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    # A damaged folder, or one of another model, fails anywhere in the readers of transformers and safetensors, with
    # various errors.
    except Exception as error:
        raise unreadable(source, error, key) from error
    clip, loading = loaded  # a pair, because of output_loading_info
    return clip, loading
