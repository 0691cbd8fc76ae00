"""The module that computes the views of a plan. Shapes: n views, B rows, K captions, T tokens, D features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.views.backbone_sizes import BackboneSizes, TranslatorSizes
from model.views.packing import Packing
from model.views.positions import end_positions
from model.views.projection import make_projection
from model.views.recipes import CaptionView, Kind, ViewPlan, views_of
from model.views.towers import SpecialTokens, Towers, build_towers, load_towers
from model.views.translate import END_CHOICES, TOKEN_CHOICES, Choice, chosen_embeddings, end_similarity, gumbel_noise
from model.views.translator import StateTranslator, TokenTranslator

# View -> its features (B, D).
Features = dict[CaptionView, Tensor]


def translator_choices(sizes: TranslatorSizes) -> dict[str, str]:
    """Returns where the encoder-decoder normalises, and how its initial weights are drawn."""
    return {"translator_norm": sizes.translator_norm, "translator_init": sizes.translator_init}


class ViewEncoder(nn.Module):
    """Computes the (n, B, D) views of a plan from images and captions. The views are projected by the matrix P and not
    normalised.
    """

    def __init__(
        self,
        plan: ViewPlan,
        sizes: BackboneSizes,
        tokens: SpecialTokens,
        *,
        projection: str,
        token_select: str,
        eot_select: str,
    ) -> None:
        """projection, token_select, eot_select: values of these keys of conf/model."""
        super().__init__()
        self.plan = plan
        self._frozen: tuple[str, ...] = ()
        self.tokens = tokens
        self.towers: Towers = load_towers(sizes.pretrained, tokens) if sizes.pretrained else build_towers(sizes, tokens)
        self.states = StateTranslator(sizes, tokens) if plan.captions_of(Kind.DECODED) else None
        self.translator = TokenTranslator(sizes, tokens) if plan.captions_of(Kind.TRANSLATED) else None
        self.architecture = translator_choices(sizes) if self.states or self.translator else {}
        """Part of a checkpoint: choices that change what the weights compute and that their shapes do not show."""
        self.projection = make_projection(projection, self.towers.features)
        self.choose_tokens: Choice = TOKEN_CHOICES[token_select]
        self.choose_end: Choice = END_CHOICES[eot_select]

    def tower_modules(self) -> dict[str, tuple[nn.Module, ...]]:
        """Returns the modules of `image`, `text`, `translator` and `projection`; together they hold all weights."""
        towers = self.towers
        translators = (module for module in (self.states, self.translator) if module is not None)
        return {
            "image": (towers.vision, towers.visual_projection),
            "text": (towers.text, towers.text_projection),
            "translator": tuple(translators),
            "projection": (self.projection,),
        }

    def freeze(self, names: Sequence[str]) -> None:
        """Keeps the towers `names` in evaluation mode from now on, so that they drop nothing in training."""
        self._frozen = tuple(names)
        self.train(self.training)

    def train(self, mode: bool = True) -> ViewEncoder:
        """Chooses training or evaluation mode for all modules except those of frozen towers."""
        super().train(mode)
        modules = self.tower_modules() if self._frozen else {}
        for module in (module for name in self._frozen for module in modules[name]):
            module.eval()
        return self

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        """Computes the views (n, B, D) of images (B, 3, H, W) and captions (B, K, T). K is at least `plan.captions`."""
        image = self.towers.image(images)
        features = self._direct(captions)
        if self.translator is not None:
            features |= self._translated(captions, self.translator)
        if self.states is not None:
            features |= self._decoded_and_encoded(captions, self.states)
        return self.projection(torch.stack([image, *(features[view].to(image.dtype) for view in self.plan.views)]))

    def image_features(self, images: Tensor) -> Tensor:
        """Computes the image view alone: (B, 3, H, W) -> (B, D)."""
        rows = self.towers.image(images)
        return self.projection(torch.stack([rows, torch.zeros_like(rows)]))[0]

    def caption_features(self, tokens: Tensor) -> Tensor:
        """Computes features of any text in the same way as the view of caption 1: (B, T) tokens -> (B, D)."""
        rows = self.towers.caption(tokens, end_positions(tokens, self.tokens.end))
        return self.projection(torch.stack([torch.zeros_like(rows), rows]))[1]

    def _select(self, captions: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns K' captions of each sample as (K' * B, T) tokens, and the (K' * B,) positions of their end tokens."""
        tokens = captions[:, list(chosen)].transpose(0, 1).flatten(0, 1)
        return tokens, end_positions(tokens, self.tokens.end)

    def _direct(self, captions: Tensor) -> Features:
        """Computes the views of Kind.CAPTION with the text tower."""
        chosen = self.plan.captions_of(Kind.CAPTION)
        if not chosen:
            return {}
        return by_view(views_of(Kind.CAPTION, chosen), self.towers.caption(*self._select(captions, chosen)))

    def _translated(self, captions: Tensor, translator: TokenTranslator) -> Features:
        """Computes the views of Kind.TRANSLATED: translates captions into token embeddings, and projects the text
        transformer's row at the end token of the original caption.
        """
        chosen = self.plan.captions_of(Kind.TRANSLATED)
        tokens, end = self._select(captions, chosen)
        packing = Packing(end)
        logits = translator(tokens, packing)

        def draw() -> Tensor:
            # Noise for the whole context: the random numbers of a run must not depend on the lengths of its texts.
            noise = gumbel_noise((*tokens.shape, logits.shape[-1]), logits.device)
            return packing.pack(noise[:, : packing.longest])

        weights = self.choose_tokens(logits, draw if self.training else None)
        embeddings = packing.pad(chosen_embeddings(weights, self.towers.token_embedding))
        return by_view(views_of(Kind.TRANSLATED, chosen), self.towers.project(self.towers.end_row(embeddings, packing)))

    def _decoded_and_encoded(self, captions: Tensor, translator: StateTranslator) -> Features:
        """Computes the views of Kind.DECODED from the decoder's normalised states, with the text transformer, and the
        views of Kind.ENCODED from the encoder's states at the end token. One pass through the encoder-decoder gives
        both.
        """
        chosen, encoded = self.plan.captions_of(Kind.DECODED), self.plan.captions_of(Kind.ENCODED)
        tokens, end = self._select(captions, chosen)
        packing = Packing(end)
        encoder_states, decoder_states = translator(tokens, packing)
        units = F.normalize(decoder_states.float(), dim=-1)
        similarity = end_similarity(units, self.towers.token_embedding[self.tokens.end])
        draw = partial(gumbel_noise, similarity.shape, similarity.device) if self.training else None
        rows = [self.towers.chosen_row(units.to(decoder_states.dtype), self.choose_end(similarity, draw))]
        if encoded:
            at_end = packing.at_end(encoder_states).unflatten(0, (len(chosen), -1))
            rows.append(at_end[[chosen.index(caption) for caption in encoded]].flatten(0, 1))
        views = views_of(Kind.DECODED, chosen) + views_of(Kind.ENCODED, encoded)
        return by_view(views, self.towers.project(torch.cat(rows)))


def by_view(views: Sequence[CaptionView], rows: Tensor) -> Features:
    """Splits (len(views) * B, D) rows, in which the rows of a view are neighbours, into the rows of each view."""
    return dict(zip(views, rows.unflatten(0, (len(views), -1)).unbind(), strict=True))
