"""The report of ``python -m model.data.check`` on the data that a run would use and leave out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence

from model.config.arguments import check_override
from model.config.compose import composed_run, groups
from model.config.messages import CONFIG_ERRORS, two_lines
from model.config.schema import BackboneConfig, DataConfig
from model.data import check_source, make_source
from model.data.annotation_problems import DamagedAnnotations
from model.data.check_tables import caption_rows, format_table, label_rows, picture_rows, size_rows
from model.data.coco_left_out import left_out_entries
from model.data.part_report import plural, shared_images
from model.data.source import Source, SourceOptions
from model.data.table_left_out import left_out_rows
from model.data.text import one_line
from model.data.tokenizer import new_tokenizer, tokenizer_name
from model.errors import ConfigError
from model.views.backbone_sizes import resolved_sizes


def check_data(arguments: Sequence[str]) -> int:
    """Prints the report on the data of these settings. Returns the exit code of the command."""
    logging.getLogger("model.data").addHandler(logging.NullHandler())  # the report contains what a run would log
    try:
        config = composed_run(settings(arguments))
        check_source(config.data)
        return report(config.data, config.backbone, config.model.captions, config.seed)
    except DamagedAnnotations as damage:
        print("\n".join(map(str, damage.problems)))
        count = plural(len(damage.problems), "problem", "problems")
        print(f"\n{count} in the annotation files: a run with these settings would stop here")
        return 1
    except CONFIG_ERRORS as error:
        print(two_lines(error), file=sys.stderr)
        return 2


def settings(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments, if each of them is a setting of one run. Raises ConfigError otherwise."""
    choices = groups()
    for argument in arguments:
        if argument.startswith("-"):
            raise ConfigError(f"{one_line(argument)} is not a setting; allowed: key=value, as for one run of train.py")
        check_override(argument, choices)
    return list(arguments)


def report(data: DataConfig, backbone: BackboneConfig, captions: int, seed: int) -> int:
    """Prints which data are used and which are left out. Returns the exit code.

    captions: number of captions of each image that the model reads.
    """
    sizes = resolved_sizes(backbone)
    source = make_source(data, SourceOptions(sizes.image_size, seed))
    tokenizer = new_tokenizer(tokenizer_name(data.tokenizer, backbone.pretrained), data.vocab_size, source)
    table = [
        *size_rows(source),
        *picture_rows(source),
        *caption_rows(source, tokenizer, captions, sizes.context_length),
        *label_rows(source),
    ]
    print(f"data={data.name}: what a run uses\n\n{format_table(table)}")
    reports = source.part_reports.values()
    if reports:
        print("\n" + ("\n".join(warnings(source)) or "nothing is left out, and no picture occurs twice"))
    entries = [entry for part in reports for entry in (left_out_rows if part.is_table else left_out_entries)(part)]
    if entries:
        print("\nentries that are left out:", *entries, sep="\n")
    return 1 if any(part.left_out() for part in reports) else 0


def warnings(source: Source) -> Iterator[str]:
    """Yields sentences about what is left out and what occurs twice, for a source with part reports."""
    for part in source.part_reports.values():
        yield from part.warnings()
    train = source.part_reports.get("train")
    for name, part in source.part_reports.items():
        if train is not None and name != "train" and (shared := shared_images(train, part)):
            yield shared
