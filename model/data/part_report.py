"""What a source uses, leaves out or finds repeated in one part of its files: numbers, names and sentences."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model.data.pictures import PictureFacts
from model.data.text import one_line

# The most files that one message names.
MOST_NAMES = 20


@dataclass
class PartReport:
    """A report on one part of the files, such as train2017."""

    name: str
    annotation_file: Path | None
    """The file that lists the images of the part. None if no single file does."""
    captions: int
    """`data.captions`. Images with fewer captions are left out, unless captions are repeated."""
    repeats: bool = False
    """Whether captions of images with fewer are repeated, so that only images without a caption are left out."""
    is_table: bool = False
    """Whether the file is a table, whose rows are known by their lines."""
    images: int = 0
    """Number of images in the annotation file. Each id counts once."""
    captions_of_images: list[int] = field(default_factory=list)
    """Number of captions of each image."""
    few_captions: dict[int | str, str] = field(default_factory=dict)
    """Images that are left out because they have fewer captions: id, or line of a table -> file."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Images that are left out because of their files: file -> the reason."""
    damaged_files: dict[str, str] = field(default_factory=dict)
    """Files with many images of which at most a part is used: file -> the reason."""
    repeated_images: list[str] = field(default_factory=list)
    """Files of the images whose id has further entries. The further entries are left out."""
    repeated_captions: int = 0
    """Number of captions that have the id of another caption. All are used."""
    empty_captions: list[int | str] = field(default_factory=list)
    """Ids of the captions without a word, which are left out; for a table, the lines of their rows."""
    repeated_rows: list[int] = field(default_factory=list)
    """Lines of the rows of a table that add no caption to the picture of an earlier row."""
    surplus: list[str] = field(default_factory=list)
    """Images that are left out because copies of them are in val or test, which have no room for more."""
    further: list[str] = field(default_factory=list)
    """Further sentences about what is unexpected."""
    lines: dict[str, int] = field(default_factory=dict)
    """File of each image of `unreadable` and `surplus` -> the line of its row, if the file is a table."""
    captions_without_image: int = 0
    """Number of captions whose image is not in the annotation file, which are left out."""
    surrogates: int = 0
    """Number of captions in which a lone surrogate was replaced."""
    facts: Sequence[tuple[str, PictureFacts]] = ()
    """File of each image that is used, and facts about it, in the order of the rows."""
    examined: int = 0
    """Number of files that were decoded because no earlier run had examined them."""

    def left_out(self) -> int:
        """Returns the number of images, entries and captions that are not used."""
        images = len(self.few_captions) + len(self.unreadable) + len(self.repeated_images) + len(self.surplus)
        parts = len(self.damaged_files) + len(self.empty_captions) + len(self.repeated_rows)
        return images + parts + self.captions_without_image

    def few(self) -> str:
        """Returns which number of captions is too small."""
        return "no caption" if self.repeats else f"fewer than data.captions={self.captions} captions"

    def log_use(self, log: logging.Logger, used: int) -> None:
        """Logs how many images are used, and what is left out."""
        log.info(
            "%s: %s images are used; %s pictures were decoded, the others are known from earlier runs",
            self.name,
            f"{used:,}",
            f"{self.examined:,}",
        )
        for sentence in self.warnings():
            log.warning("%s", sentence)

    def reasons(self) -> str:
        """Returns why there are no more images, in brackets. Empty if all images are used."""
        reasons = []
        if self.few_captions:
            reasons.append(f"{len(self.few_captions):,} with {self.few()}")
        if self.unreadable:
            reasons.append(f"{len(self.unreadable):,} whose file cannot be used")
        return f" (left out of {self.images:,}: {' and '.join(reasons)})" if reasons else ""

    def warnings(self, most: int = MOST_NAMES) -> Iterator[str]:
        """Yields a sentence about everything that is left out or unexpected, each with the first `most` names."""
        for sentence in (
            *self._image_warnings(most),
            *self._caption_warnings(most),
            *self._copy_warnings(most),
            *self.further,
        ):
            yield f"{self.name}: {sentence}"

    def _image_warnings(self, most: int) -> Iterator[str]:
        if self.damaged_files:
            count = plural(len(self.damaged_files), "file", "files")
            names = join((f"{one_line(name)} {reason}" for name, reason in self.damaged_files.items()), most)
            yield f"{count} cannot be read as a whole; the images before the damage are used: {names}"
        if self.unreadable:
            count = plural(
                len(self.unreadable),
                "image is left out because of its file",
                "images are left out because of their files",
            )
            yield f"{count}: {join((f'{one_line(name)} {reason}' for name, reason in self.unreadable.items()), most)}"
        if self.few_captions:
            count = plural(
                len(self.few_captions), "image is left out because it has", "images are left out because they have"
            )
            names = join(map(one_line, self.few_captions.values()), most)
            yield f"{count} {self.few()}: {names}"
        if self.repeated_images:
            ids = plural(len(self.repeated_images), "image id has", "image ids have")
            names = join(map(one_line, self.repeated_images), most)
            yield f"{ids} several entries; the first one is used: {names}"

    def _caption_warnings(self, most: int) -> Iterator[str]:
        if self.empty_captions:
            count = plural(
                len(self.empty_captions),
                "caption is left out because it has",
                "captions are left out because they have",
            )
            entries = join((one_line(str(number)) for number in self.empty_captions), most)
            yield f"{count} no word: {'line' if self.is_table else 'id'} {entries}"
        if self.captions_without_image:
            count = plural(self.captions_without_image, "caption is", "captions are")
            yield f"{count} left out because the file does not list the image"
        if self.repeated_captions:
            count = plural(self.repeated_captions, "caption has", "captions have")
            yield f"{count} the id of another caption; all are used"
        if self.surrogates:
            count = plural(self.surrogates, "caption contains", "captions contain")
            yield f"{count} half of a UTF-16 surrogate pair; it is replaced by U+FFFD"

    def _copy_warnings(self, most: int) -> Iterator[str]:
        if self.repeated_rows:
            count = plural(len(self.repeated_rows), "row adds", "rows add")
            names = join(map(str, self.repeated_rows), most)
            yield f"{count} no caption to the picture of an earlier row: line {names}"
        if self.surplus:
            count = plural(len(self.surplus), "image is", "images are")
            names = join(map(one_line, self.surplus), most)
            yield f"{count} left out because val or test has no room for all copies of a picture: {names}"
        groups = copies(self.facts)
        if groups:
            number = sum(map(len, groups)) - len(groups)
            count = plural(number, "image is a copy of another one", "images are copies of others")
            shown = [" = ".join(map(one_line, group[:most])) for group in groups[:most]]
            more = f" and {len(groups) - most:,} more" if len(groups) > most else ""
            yield f"{count} (same file content); copies are false negatives of each other: {', '.join(shown)}{more}"


def copies(facts: Iterable[tuple[str, PictureFacts]]) -> list[list[str]]:
    """Returns groups of images with the same file content."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, fact in facts:
        groups[fact.digest].append(name)
    return [names for names in groups.values() if len(names) > 1]


def shared_images(train: PartReport, held_out: PartReport, most: int = MOST_NAMES) -> str | None:
    """Returns a sentence about the images of `held_out` whose file content is that of an image of `train`. None if
    there are no such images.
    """
    digests = {fact.digest for _, fact in train.facts}
    shared = [name for name, fact in held_out.facts if fact.digest in digests]
    if not shared:
        return None
    count = plural(len(shared), "image is", "images are")
    return (
        f"{held_out.name}: {count} also in {train.name} (same file content), so that the figures of val and test "
        f"are too high: {join(map(one_line, shared), most)}"
    )


def plural(count: int, singular: str, plural_words: str) -> str:
    """Returns the number and the words that follow it."""
    return f"{count:,} {singular if count == 1 else plural_words}"


def join(names: Iterable[str], most: int) -> str:
    """Returns the first `most` names, and the number of the others."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
