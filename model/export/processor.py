"""Tokeniser and image processor of an exported model, which prepare texts and pictures as the run did."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, normalizers
from tokenizers.processors import TemplateProcessing
from transformers import CLIPProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from model.data.text import CONTROL, clean
from model.data.tokenizer import encode
from model.errors import ConfigError
from model.trained.trained_model import TrainedModel

# Texts with which the exported tokeniser is compared with that of the run.
PROBES = (
    "",
    "a",
    "Two  red circles,\n left of a BLUE square.",
    "Äpfel und Birnen 你好 🙂",
    "1234567890",
    "word " * 300,
)


def processor(trained: TrainedModel) -> CLIPProcessor:
    """Returns the processor of transformers for texts and pictures. Raises ConfigError if the tokeniser of the run
    cannot be described to transformers.
    """
    tokenizer = exported_tokenizer(trained)
    check_equal(trained, tokenizer, [*PROBES, *map(str, trained.tokenizer.all_special_tokens)])
    return CLIPProcessor(image_processor(trained), tokenizer)


def exported_tokenizer(trained: TrainedModel) -> PreTrainedTokenizerFast:
    """Returns the tokeniser with what the run does around it: spaces and control characters are joined, begin and end
    tokens are added, a text that spells a special token is an ordinary text, and texts are truncated to the context.
    """
    own = trained.tokenizer
    backend = getattr(own, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(
            f"data.tokenizer is a {type(own).__name__}, which is written in Python and cannot be exported; allowed: a "
            f"tokeniser with a file tokenizer.json"
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    spaces = [normalizers.Replace(Regex(CONTROL.pattern), " "), normalizers.Replace(Regex(r"\s+"), " ")]
    steps = [*spaces, normalizers.Strip(), *([copy.normalizer] if copy.normalizer is not None else [])]
    copy.normalizer = normalizers.Sequence(steps)
    begin, end = str(own.bos_token), str(own.eos_token)
    copy.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(begin, own.bos_token_id), (end, own.eos_token_id)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=copy,
        bos_token=begin,
        eos_token=end,
        pad_token=str(own.pad_token),
        model_max_length=trained.context_length,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="right",
        truncation_side="right",
        split_special_tokens=True,
    )


def check_equal(trained: TrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> None:
    """Raises ConfigError if the exported tokeniser gives other tokens than that of the run."""
    for text in texts:
        wanted = encode(trained.tokenizer, [clean(text)], trained.context_length)
        ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        if not wanted.equal(ids):
            raise ConfigError(
                f"data.tokenizer gives other tokens for {text[:20]!r} when transformers calls it; allowed: a run with "
                f"another tokeniser"
            )


def image_processor(trained: TrainedModel) -> CLIPImageProcessorPil:
    """Returns the image processor: the shorter side is scaled (bicubic), the middle is cropped, pixels are normalised
    as in the run.
    """
    size = trained.image_size
    mean, deviation = (list(values) for values in trained.settings.normalization)
    return CLIPImageProcessorPil(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=mean,
        image_std=deviation,
    )
