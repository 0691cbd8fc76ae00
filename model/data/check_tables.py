"""The table that `python -m model.data.check` prints: sizes, pictures, captions and labels of each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from model.data.source import SPLITS, Source
from model.data.text import one_line
from model.data.tokenizer import token_ids

TableRow = tuple[str, list[str]]
"""The name of a row, and its cell for each split."""


def size_rows(source: Source) -> list[TableRow]:
    """Returns the numbers of images."""
    return [("images", [f"{source.size(split):,}" for split in SPLITS])]


def picture_rows(source: Source) -> list[TableRow]:
    """Returns sizes and formats of the picture files. Empty for sources that draw their pictures."""
    splits = [source.files(split) for split in SPLITS]
    files = [facts for facts in splits if facts]
    if len(files) < len(SPLITS):
        return []
    return [
        ("width, pixels: least, median, most", [quantiles([fact.width for fact in facts]) for facts in files]),
        ("height, pixels: least, median, most", [quantiles([fact.height for fact in facts]) for facts in files]),
        ("formats", [frequencies(fact.format for fact in facts) for facts in files]),
    ]


def caption_rows(
    source: Source, tokenizer: PreTrainedTokenizerBase, captions: int, context_length: int
) -> list[TableRow]:
    """Returns numbers, lengths and repetitions of the first `captions` captions of each image."""
    names = [
        f"captions, {captions} of each image",
        "words of a caption: least, median, most",
        "tokens of a caption: least, median, most",
        f"captions truncated at backbone.context_length={context_length}",
        "captions equal to an earlier one",
    ]
    columns = []
    for split in SPLITS:
        every = source.texts(split, range(source.size(split)))
        texts = [text for own in every for text in own[:captions]]
        tokens = [len(ids) + 2 for ids in token_ids(tokenizer, texts)]  # begin and end
        columns.append(
            [
                f"{len(texts):,}",
                quantiles([len(text.split()) for text in texts]),
                quantiles(tokens),
                share(sum(count > context_length for count in tokens), len(texts)),
                share(len(texts) - len(set(texts)), len(texts)),
            ]
        )
    return [(name, list(cells)) for name, *cells in zip(names, *columns, strict=True)]


def label_rows(source: Source) -> list[TableRow]:
    """Returns how many images have a class. Empty if the training split has no classes."""
    labels = [source.labels(split, range(source.size(split))) for split in SPLITS]
    if labels[0] is None:
        return []
    cells = ["none" if values is None else share(int((values >= 0).sum()), len(values)) for values in labels]
    return [("images with a class", cells)]


def quantiles(values: Sequence[int]) -> str:
    """Returns the lowest value, the median and the highest value."""
    return ", ".join(f"{int(value):,}" for value in np.percentile(values, (0, 50, 100)))


def share(count: int, total: int) -> str:
    """Returns `count`, and its share of `total` in percent."""
    return f"{count:,} ({100 * count / total:.1f} %)"


def frequencies(names: Iterable[str]) -> str:
    """Returns each name with its number, the most frequent first."""
    return ", ".join(f"{one_line(name)} {count:,}" for name, count in Counter(names).most_common())


def format_table(table: Sequence[TableRow]) -> str:
    """Returns the table as lines of aligned columns."""
    rows = [("", list(SPLITS)), *table]
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(SPLITS))]
    first = max(len(name) for name, _ in rows)
    return "\n".join(
        "  ".join([f"{name:{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))])
        for name, cells in rows
    )
