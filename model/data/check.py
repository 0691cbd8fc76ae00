"""``python -m model.data.check data=coco data.root=<folder>``: which data a run with these settings would see, and
which it would leave out.

Takes what train.py takes. Exit codes: 0 everything is used, 1 something is left out or damaged, 2 a mistake in the
settings.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from model.config.arguments import check_override
from model.config.compose import composed_run, groups
from model.config.messages import CONFIG_ERRORS, two_lines
from model.config.schema import RunConfig
from model.data import check_source, coco_files, coco_problems, make_source
from model.data.source import SPLITS, ForRun, Source
from model.data.tally import plural, shared_images
from model.data.text import shown
from model.data.tokenizer import named_tokenizer, new_tokenizer, words
from model.errors import ConfigError
from model.views.backbone_sizes import resolved_sizes

# Rows of a table, each with its name and a cell for each split.
Table = list[tuple[str, list[str]]]


def main(arguments: Sequence[str]) -> int:
    """Prints the report; returns the exit code."""
    logging.getLogger("model.data").addHandler(logging.NullHandler())  # the report prints what a run would log
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        config = composed_run(settings(arguments))
        check_source(config.data)
        broken = coco_problems.in_files(config.data) if config.data.name == "coco" else []
        if broken:
            print("\n".join(map(str, broken)))
            print(
                f"\n{plural(len(broken), 'problem', 'problems')} in the annotation files: a run with these settings "
                f"would stop here"
            )
            return 1
        return report(config)
    except CONFIG_ERRORS as error:
        print(two_lines(error), file=sys.stderr)
        return 2


def settings(arguments: Sequence[str]) -> list[str]:
    """The arguments, if each of them is a setting of one run. Raises ConfigError otherwise."""
    known = groups()
    for argument in arguments:
        if argument.startswith("-"):
            raise ConfigError(f"{shown(argument)} is not a setting; allowed: key=value, as for one run of train.py")
        check_override(argument, known)
    return list(arguments)


def report(config: RunConfig) -> int:
    """Prints which data are used and which are left out; returns the exit code."""
    sizes = resolved_sizes(config.backbone)
    source = make_source(config.data, ForRun(sizes.image_size, config.seed))
    tokenizer = new_tokenizer(named_tokenizer(config.data, config.backbone), config.data.vocab_size, source)
    print(f"data={config.data.name}: what a run sees\n")
    table = [("images", [f"{source.size(split):,}" for split in SPLITS])]
    table += pictures(source) + captions(
        source, config.model.captions, lambda texts: list(map(len, words(tokenizer, texts))), sizes.context_length
    )
    print(laid_out(table + labels(source)))
    if source.tallies:
        print("\n" + ("\n".join(findings(source)) or "nothing is left out, and no picture occurs twice"))
    if config.data.name == "coco":
        entries = list(coco_problems.left_out(coco_files.parts(config.data.root, config.data.year), source.tallies))
        if entries:
            print("\nentries that are left out:")
            print("\n".join(map(str, entries)))
    return 1 if any(tally.left_out() for tally in source.tallies.values()) else 0


def findings(source: Source) -> Iterator[str]:
    """Sentences on what is left out and what occurs twice; none for sources that draw their pictures."""
    for tally in source.tallies.values():
        yield from tally.warnings()
    if source.tallies:
        shared = shared_images(source.tallies["train"], source.tallies["val"])
        if shared:
            yield shared


def pictures(source: Source) -> Table:
    """Sizes and formats of the picture files; nothing for sources that draw their pictures."""
    facts = [source.files(split) for split in SPLITS]
    if not all(facts):
        return []
    return [
        ("width, pixels: least, median, most", [spread([one.width for one in files]) for files in facts]),
        ("height, pixels: least, median, most", [spread([one.height for one in files]) for files in facts]),
        ("formats", [frequencies(one.format for one in files) for files in facts]),
    ]


def captions(source: Source, read: int, lengths: Callable[[list[str]], list[int]], context_length: int) -> Table:
    """Numbers, lengths and repetitions of the captions that the model reads, which are the first `read` of each image.

    lengths: texts -> number of tokens of each, without begin and end.
    """
    columns = []
    for split in SPLITS:
        texts = [text for texts in source.texts(split, range(source.size(split))) for text in texts[:read]]
        tokens = [count + 2 for count in lengths(texts)]  # begin and end
        cut = sum(count > context_length for count in tokens)
        repeated = len(texts) - len(set(texts))
        columns.append(
            [
                f"{len(texts):,}",
                spread([len(text.split()) for text in texts]),
                spread(tokens),
                share(cut, texts),
                share(repeated, texts),
            ]
        )
    names = [
        f"captions, {read} of each image",
        "words of a caption: least, median, most",
        "tokens of a caption: least, median, most",
        f"captions cut at backbone.context_length={context_length}",
        "captions equal to an earlier one",
    ]
    return [(name, list(cells)) for name, *cells in zip(names, *columns, strict=True)]


def labels(source: Source) -> Table:
    """How many images have a class; nothing where the data has no classes."""
    columns = [source.labels(split, range(source.size(split))) for split in SPLITS]
    return (
        []
        if columns[0] is None
        else [
            ("images with a class", ["none" if one is None else share(int((one >= 0).sum()), one) for one in columns])
        ]
    )


def spread(values: Sequence[int]) -> str:
    """The least, the median and the highest value."""
    return ", ".join(f"{int(value):,}" for value in np.percentile(values, (0, 50, 100)))


def share(count: int, of: Sequence[object]) -> str:
    """`count`, and its share of the elements of `of` in percent."""
    return f"{count:,} ({100 * count / len(of):.1f} %)"


def frequencies(names: Iterator[str]) -> str:
    """Each name with its number, the most frequent first."""
    return ", ".join(f"{shown(name)} {count:,}" for name, count in Counter(names).most_common())


def laid_out(table: Table) -> str:
    """The table as lines of aligned columns."""
    rows = [("", list(SPLITS)), *table]
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(SPLITS))]
    first = max(len(name) for name, _ in rows)
    return "\n".join(
        "  ".join([f"{name:{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))])
        for name, cells in rows
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
