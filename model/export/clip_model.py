"""A trained model as a CLIPModel of transformers. Shapes: D features, H width of a tower."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from model.errors import ConfigError
from model.trained.trained_model import TrainedModel
from model.views import projection as projections
from model.views.encoder import ViewEncoder

# transformers pools the text of a model with this end token at its largest id, not at the end token.
OLD_END = 2


def clip_model(trained: TrainedModel, dtype: torch.dtype) -> CLIPModel:
    """Returns a CLIPModel whose image features and text features are the views `image` and `caption_1`, up to their
    length. The matrix P of the projection is multiplied into the projection of a tower, and the logit scale is the
    trained one.

    Raises ConfigError if transformers would not read a text at its end token.
    """
    encoder = trained.encoder
    if encoder.tokens.end == OLD_END:
        raise ConfigError(
            f"data.tokenizer has an end token with the id {OLD_END}, for which transformers reads a text at another "
            f"token; allowed: a run whose tokeniser has another id for it"
        )
    with torch.random.fork_rng(devices=[]):
        clip = CLIPModel(clip_config(trained))
    nn.Module.to(clip, dtype)
    towers = encoder.towers
    clip.vision_model.load_state_dict(towers.vision.state_dict())
    clip.text_model.load_state_dict(towers.text.state_dict())
    image, text = folded_projections(encoder)
    with torch.no_grad():
        clip.visual_projection.weight.copy_(image)
        clip.text_projection.weight.copy_(text)
        clip.logit_scale.fill_(math.log(trained.logit_scale))
    return clip.eval()


def clip_config(trained: TrainedModel) -> CLIPConfig:
    """Returns the configuration of the towers, with the ids of the run's own special tokens."""
    towers, tokens = trained.encoder.towers, trained.encoder.tokens
    ids = {"bos_token_id": tokens.begin, "eos_token_id": tokens.end, "pad_token_id": tokens.pad}
    width = trained.features
    return CLIPConfig(
        text_config=towers.text.config.to_dict() | ids | {"projection_dim": width},
        vision_config=towers.vision.config.to_dict() | {"projection_dim": width},
        logit_scale_init_value=math.log(trained.logit_scale),
        projection_dim=width,
    )


def folded_projections(encoder: ViewEncoder) -> tuple[Tensor, Tensor]:
    """Returns the weights of visual_projection and text_projection, (D, H) float64 each, with P multiplied in.

    The features of the identity matrix are the rows of P, or of its inverse, for whichever of the two towers P belongs
    to.
    """
    towers = encoder.towers
    unit = torch.eye(towers.features, dtype=torch.float64)
    projection = encoder.projection
    of_image = of_text = unit
    if isinstance(projection, projections.Projection):
        matrix = projection.matrix.detach().double().cpu()
        of_image, of_text = projection.apply_to(torch.stack([unit, unit]), matrix)
    image, text = (layer.weight.detach().double().cpu() for layer in (towers.visual_projection, towers.text_projection))
    return of_image.T @ image, of_text.T @ text
