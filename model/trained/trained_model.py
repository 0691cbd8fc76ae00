"""A trained model: features of pictures and texts, views and scores. Shapes: n views, N samples, K captions, B samples
of a batch, T tokens, D features.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from model.config.own_function import load_function
from model.data.text import clean
from model.data.tokenizer import encode, token_ids
from model.errors import not_known
from model.losses.make import make_loss
from model.losses.objective.loss import ContrastiveLoss
from model.trained.pictures import Pictures, squares_of
from model.trained.settings import TrainedSettings
from model.views.encoder import ViewEncoder

log = logging.getLogger(__name__)
# The samples of a block in which the scores of matches are computed, with those of all other pairs of the block.
BLOCK = 64


class TrainedModel:
    """The trained model of a run, in evaluation mode and without gradients. `model.load` makes it.

    All results are tensors on the CPU, in the dtype that `load` was given.
    """

    def __init__(
        self,
        encoder: ViewEncoder,
        tokenizer: PreTrainedTokenizerBase,
        settings: TrainedSettings,
        checkpoint: Path,
        *,
        logit_scale: float,
        logit_bias: float | None,
    ) -> None:
        """encoder: in evaluation mode, with its weights, on its device; checkpoint: the file that holds the weights."""
        self.encoder, self.tokenizer, self.settings, self.checkpoint = encoder, tokenizer, settings, checkpoint
        self.names: tuple[str, ...] = encoder.plan.names
        """The names of the views, in order: image, caption_1, …"""
        self.captions: int = encoder.plan.captions
        """K, the number of captions of a sample that the views are computed from."""
        self.features: int = encoder.towers.features
        """D, the number of features of a row."""
        self.image_size = int(encoder.towers.vision.config.image_size)
        """Height and width of a picture, in pixels, as the model reads it."""
        self.context_length = int(encoder.towers.text.config.max_position_embeddings)
        """T, the number of tokens of a text, begin and end included, after which it is truncated."""
        self.logit_scale = logit_scale
        """The multiplier of the scores, as trained."""
        self.logit_bias = logit_bias
        """The number that loss=siglip adds to the scaled scores; None for other losses."""
        self._parameter = encoder.towers.visual_projection.weight
        self._has_warned = False

    @cached_property
    def loss(self) -> ContrastiveLoss:
        """The loss of the run, for its scores. Raises ConfigError if the function of loss=own cannot be imported, or
        was edited after the run.
        """
        loss, function = self.settings.loss, self.settings.loss.get("function")
        formula = loss["name"] if function is None else load_function(function, loss["function_digest"])
        return make_loss(formula, normalize=loss["normalize"], eps=loss["eps"])

    @torch.no_grad()
    def encode_images(self, images: Pictures, batch_size: int = 64) -> Tensor:
        """Returns the features of pictures, (N, D), each row of length 1.

        images: paths of picture files, opened pictures (PIL), or squares (N, 3, H, W) uint8. Raises
        PicturesNotReadable, a ValueError that names the file, if a picture cannot be read.
        """
        rows = [self.encoder.image_features(self._pixels(images, batch)) for batch in batches(len(images), batch_size)]
        return self._units(rows)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Returns the features of texts, (N, D), each row of length 1. They are computed as those of caption 1.

        A text that is longer than the context is truncated, and the first call with such a text logs a warning.
        """
        refuse_text("texts", texts)
        rows = [self.encoder.caption_features(self._tokens(texts[batch])) for batch in batches(len(texts), batch_size)]
        return self._units(rows)

    @torch.no_grad()
    def encode_views(self, images: Pictures, captions: Sequence[Sequence[str]], batch_size: int = 64) -> Tensor:
        """Returns all views of samples, (n, N, D), in the order of `names`. Rows are not scaled to length 1, because
        some losses read their length.

        images: as for `encode_images`; captions: for each picture its K captions in the order of training. Raises
        ValueError for another number of captions.
        """
        self._check_captions(images, captions)
        views = [self._encoded(images, captions, batch) for batch in batches(len(images), batch_size)]
        return torch.cat(views, dim=1) if views else self._parameter.new_empty(len(self.names), 0, self.features).cpu()

    @torch.no_grad()
    def score(self, samples: Pictures, captions: Sequence[Sequence[str]] | None = None) -> Tensor:
        """Returns how well the views of each sample match, by the trained score: (N,), not multiplied by
        `logit_scale`. Higher scores are better matches. The score of a loss of pairs is the sum over its pairs.

        samples: without captions, the views (n, N, D) that `encode_views` returns; with captions, the pictures.
        """
        views = self._views(samples, captions)
        blocks = [self._candidates(views[:, batch], 0).diagonal() for batch in batches(views.shape[1], BLOCK)]
        return torch.cat(blocks) if blocks else views.new_empty(0)

    @torch.no_grad()
    def score_matrix(
        self,
        samples: Pictures,
        captions: Sequence[Sequence[str]] | None = None,
        *,
        view: str = "image",
    ) -> Tensor:
        """Returns the scores of all candidates of one view, (N, N): entry [i, c] is the score of the tuple whose `view`
        is that of sample c and whose other views are those of sample i. The diagonal is what `score` returns.

        view: one of `names`; samples, captions: as for `score`. Raises ConfigError for an unknown view.
        """
        if view not in self.names:
            raise not_known("view", view, self.names)
        views = self._views(samples, captions)
        return self._candidates(views, self.names.index(view)) if views.shape[1] else views.new_empty(0, 0)

    def _views(self, samples: Pictures, captions: Sequence[Sequence[str]] | None) -> Tensor:
        """Returns the views that `samples` are, or with captions those of the samples."""
        if captions is not None:
            return self.encode_views(samples, captions)
        if not isinstance(samples, Tensor):
            raise ValueError("captions: none given for pictures; accepted: the captions of each picture")
        if samples.dim() != 3 or len(samples) != len(self.names):
            raise ValueError(
                f"views: shape {tuple(samples.shape)} given; accepted: ({len(self.names)}, N, D), the result of "
                f"encode_views"
            )
        return samples

    def _candidates(self, views: Tensor, position: int) -> Tensor:
        """Returns the (N, N) scores of the candidates of one view; see `score_matrix`."""
        tiles = self.loss.rest_tiles(views.to(self._parameter.device))
        scores = [tile for view, _, tile in tiles if view == position]
        return torch.cat(scores).to(views.dtype).cpu()

    def _encoded(self, images: Pictures, captions: Sequence[Sequence[str]], batch: slice) -> Tensor:
        """Returns the views (n, B, D) of a batch of samples."""
        texts = [text for row in captions[batch] for text in row]
        tokens = self._tokens(texts).unflatten(0, (-1, self.captions))
        return self.encoder(self._pixels(images, batch), tokens).cpu()

    def _pixels(self, images: Pictures, batch: slice) -> Tensor:
        """Returns the normalised pixels of a batch of pictures, (B, 3, H, W), as in training."""
        squares = squares_of(images[batch], self.image_size, batch.start)
        dtype = self._parameter.dtype
        mean, deviation = (
            255 * torch.tensor(values, dtype=dtype)[:, None, None] for values in self.settings.normalization
        )
        return squares.to(dtype).sub_(mean).mul_(1 / deviation).to(self._parameter.device)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """Returns the token ids of texts, (B, T)."""
        texts = [clean(text) for text in texts]
        tokens = encode(self.tokenizer, texts, self.context_length)
        self._warn_of_truncation(texts, tokens)
        return tokens.to(self._parameter.device)

    def _warn_of_truncation(self, texts: Sequence[str], tokens: Tensor) -> None:
        """Logs once that texts are truncated."""
        full = (tokens[:, -1] == self.tokenizer.eos_token_id).nonzero().flatten().tolist()
        if self._has_warned or not full:
            return
        begin_and_end = 2
        longest = max(map(len, token_ids(self.tokenizer, [texts[row] for row in full]))) + begin_and_end
        if longest > self.context_length:
            self._has_warned = True
            log.warning(
                "a text has %d tokens: texts of more than %d tokens are truncated (further ones without a message)",
                longest,
                self.context_length,
            )

    def _check_captions(self, images: Pictures, captions: Sequence[Sequence[str]]) -> None:
        """Raises ValueError unless each picture has K captions."""
        refuse_text("captions", captions)
        if len(captions) != len(images):
            raise ValueError(f"captions: {len(captions)} rows given; accepted: {len(images)}, one for each picture")
        for number, row in enumerate(captions):
            refuse_text(f"captions[{number}]", row)
            if len(row) != self.captions:
                raise ValueError(f"captions[{number}]: {len(row)} captions given; accepted: {self.captions}")

    def _units(self, rows: list[Tensor]) -> Tensor:
        """Returns rows of length 1 on the CPU, (N, D)."""
        features = torch.cat(rows) if rows else self._parameter.new_empty(0, self.features)
        return F.normalize(features, dim=-1).cpu()


def batches(count: int, batch_size: int) -> Iterator[slice]:
    """Yields the slices of `count` rows in batches. Raises ValueError for a batch size below 1."""
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} given; accepted: 1 or more")
    for start in range(0, count, batch_size):
        yield slice(start, start + batch_size)


def refuse_text(name: str, texts: object) -> None:
    """Raises TypeError for one text where a list is expected, because a text is also a sequence of texts."""
    if isinstance(texts, str):
        raise TypeError(f"{name}: one text given; accepted: a list of texts")
