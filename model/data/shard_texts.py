"""Captions and labels of the samples of a shard, from their files txt, json and cls."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.annotation_problems import describe
from model.data.array_cache import Arrays
from model.data.pictures import NotReadable
from model.data.shard_samples import CLS, JSON, TXT, ShardSamples, read_bytes
from model.data.text import clean, has_lone_surrogate, one_line
from model.data.text_column import TextColumn
from model.errors import first_line

ENDINGS = {TXT: "txt", JSON: "json", CLS: "cls"}
# A larger file is not a caption.
MOST_BYTES = 1 << 24


class TextRules(NamedTuple):
    """Where captions come from."""

    caption_keys: tuple[str, ...]
    """`data.caption_keys`."""
    txt_lines: bool
    """`data.txt_lines`."""


class ShardTexts(NamedTuple):
    """The texts of the N samples of a shard."""

    captions: TextColumn
    """The captions of each sample, one a line."""
    counts: NDArray[np.int32]
    """(N,) number of captions of each sample."""
    labels: TextColumn
    """The content of cls. Empty if the sample has no such file."""
    problems: dict[int, str]
    """Samples whose texts cannot be used: position in the shard -> the reason."""
    empty: list[int]
    """Positions of samples with a caption without a word, which is left out; once for each such caption."""
    surrogates: int
    """Number of captions in which a lone surrogate was replaced."""


class SampleTexts(NamedTuple):
    """The texts of one sample."""

    captions: list[str]
    """As in the files."""
    label: str


def read_texts(path: str, samples: ShardSamples, rules: TextRules) -> ShardTexts:
    """Reads the texts of a shard. Raises OSError."""
    rows: list[SampleTexts] = []
    problems: dict[int, str] = {}
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for position, places in enumerate(samples.places.tolist()):
            try:
                rows.append(sample_texts(descriptor, places, rules))
            except NotReadable as reason:
                problems[position] = str(reason)
                rows.append(SampleTexts([], ""))
    finally:
        os.close(descriptor)
    cleaned = [[clean(text) for text in row.captions] for row in rows]
    kept = [[text for text in own if text] for own in cleaned]
    return ShardTexts(
        TextColumn.of("\n".join(own) for own in kept),
        np.array([len(own) for own in kept], np.int32),
        TextColumn.of(row.label for row in rows),
        problems,
        [position for position, own in enumerate(cleaned) for text in own if not text],
        sum(has_lone_surrogate(text) for row in rows for text in row.captions),
    )


def sample_texts(descriptor: int, places: list[list[int]], rules: TextRules) -> SampleTexts:
    """Returns the texts of one sample: the captions of its json if that has one of the keys, otherwise those of its
    txt. Raises NotReadable.

    places: offset and size of each kind of file.
    """
    captions = captions_of_json(file_text(descriptor, places, JSON), rules.caption_keys) if has(places, JSON) else []
    if not captions and has(places, TXT):
        text = file_text(descriptor, places, TXT)
        captions = text.splitlines() if rules.txt_lines else [text]
    label = clean(file_text(descriptor, places, CLS)) if has(places, CLS) else ""
    return SampleTexts(captions, label)


def has(places: list[list[int]], kind: int) -> bool:
    """Returns whether a sample has a file of a kind."""
    return places[kind][0] >= 0


def file_text(descriptor: int, places: list[list[int]], kind: int) -> str:
    """Returns the text of a sample's file. Raises NotReadable, which names the file."""
    offset, size = places[kind]
    try:
        if size > MOST_BYTES:
            raise NotReadable(f"has {size:,} bytes; allowed: {MOST_BYTES:,} or fewer")
        return read_bytes(descriptor, offset, size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotReadable(f"has a .{ENDINGS[kind]} that is not UTF-8 (byte {error.start})") from error
    except NotReadable as reason:
        raise NotReadable(f"has a .{ENDINGS[kind]} that {reason}") from reason


def captions_of_json(text: str, keys: tuple[str, ...]) -> list[str]:
    """Returns the captions under all of `keys`, in this order. A key that is missing or null has none. Raises
    NotReadable.
    """
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"has a .json that is not JSON ({one_line(first_line(error))})") from error
    if not isinstance(content, dict):
        raise NotReadable(f"has a .json with {describe(content)}; allowed: an object")
    captions: list[str] = []
    for key in keys:
        value = content.get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        for one in values:
            if not isinstance(one, str):
                raise NotReadable(
                    f'has a .json with "{one_line(key)}": {describe(value)}; allowed: a text or a list of texts'
                )
            captions.append(one)
    return captions


def texts_as_arrays(texts: ShardTexts) -> Arrays:
    """Returns the texts in the form of the cache."""
    columns: dict[str, NDArray] = {
        "captions": texts.captions.content,
        "caption_ends": texts.captions.ends,
        "counts": texts.counts,
        "labels": texts.labels.content,
        "label_ends": texts.labels.ends,
    }
    problems = {str(position): reason for position, reason in texts.problems.items()}
    return Arrays(columns, {"problems": problems, "empty": texts.empty, "surrogates": texts.surrogates})


def texts_from_arrays(arrays: Arrays) -> ShardTexts:
    """Returns the texts that `texts_as_arrays` stored."""
    columns, facts = arrays.columns, arrays.facts
    return ShardTexts(
        TextColumn(columns["captions"], columns["caption_ends"]),
        columns["counts"],
        TextColumn(columns["labels"], columns["label_ends"]),
        {int(position): reason for position, reason in facts["problems"].items()},
        facts["empty"],
        facts["surrogates"],
    )
