"""What was found in one part of the data, in numbers, names and sentences: what is used, what is left out, what is there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from model.data.pictures import Facts
from model.data.text import shown

# Files that one message names.
NAMED = 20


@dataclass
class Tally:
    """One part, such as train2017."""

    name: str
    captions: int
    """`data.captions`: images with fewer are left out."""
    images: int = 0
    """Images in the annotation file, each number once."""
    captions_of_images: list[int] = field(default_factory=list)
    """Captions that each image has."""
    few_captions: dict[int | str, str] = field(default_factory=dict)
    """Number and file of the images that are left out for having fewer."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Images that are left out for their files -> the reason."""
    repeated_images: list[str] = field(default_factory=list)
    """Images whose number has further entries, which are left out."""
    repeated_captions: int = 0
    """Captions whose number another one has; all are kept."""
    empty: list[int | str] = field(default_factory=list)
    """Numbers of the captions without a word, which are left out."""
    orphans: int = 0
    """Captions whose image is not in the file."""
    surrogates: int = 0
    """Captions in which a lone surrogate was replaced."""
    facts: list[tuple[str, Facts]] = field(default_factory=list)
    """Of each image that is used, in the order of the rows, the file and what is known of it."""
    examined: int = 0
    """Files that were decoded, because nothing was known of them from earlier runs."""

    def left_out(self) -> int:
        """Images, entries and captions that are not used."""
        return sum(map(len, (self.few_captions, self.unreadable, self.repeated_images, self.empty))) + self.orphans

    def reasons(self) -> str:
        """Why there are not more images, in brackets; nothing where all are used."""
        found = []
        if self.few_captions:
            found.append(f"{len(self.few_captions):,} with fewer than data.captions={self.captions} captions")
        if self.unreadable:
            found.append(f"{len(self.unreadable):,} whose file cannot be used")
        return f" (left out of {self.images:,}: {' and '.join(found)})" if found else ""

    def warnings(self, most: int = NAMED) -> Iterator[str]:
        """A sentence for everything that is left out or that a user would not expect, with the first `most` names."""
        if self.unreadable:
            files = listed((f"{shown(name)} {reason}" for name, reason in self.unreadable.items()), most)
            yield f"{self.name}: {plural(len(self.unreadable), 'image is', 'images are')} left out because of the file: {files}"
        if self.few_captions:
            count = plural(len(self.few_captions), "image is", "images are")
            files = listed(map(shown, self.few_captions.values()), most)
            yield f"{self.name}: {count} left out, with fewer than data.captions={self.captions} captions: {files}"
        if self.empty:
            count = plural(len(self.empty), "caption is", "captions are")
            yield f"{self.name}: {count} left out, without a word: number {listed((shown(str(number)) for number in self.empty), most)}"
        if self.orphans:
            yield f"{self.name}: {plural(self.orphans, 'caption is', 'captions are')} left out, of images that the file does not list"
        if self.repeated_images:
            names = listed(map(shown, self.repeated_images), most)
            numbers = plural(len(self.repeated_images), "image number has", "image numbers have")
            yield f"{self.name}: {numbers} several entries, of which the first is used: {names}"
        if self.repeated_captions:
            yield f"{self.name}: {plural(self.repeated_captions, 'caption has', 'captions have')} the number of another caption; all are used"
        if self.surrogates:
            contain = plural(self.surrogates, "caption contains", "captions contain")
            yield f"{self.name}: {contain} half of a UTF-16 pair, which is replaced by U+FFFD"
        groups = copies(self.facts)
        if groups:
            pairs = listed((" = ".join(map(shown, names)) for names in groups), most)
            count = sum(map(len, groups)) - len(groups)
            copy = plural(count, "image is a copy of another one", "images are copies of other ones")
            yield f"{self.name}: {copy} (same content), so that each is a false negative of the other: {pairs}"


def copies(facts: Iterable[tuple[str, Facts]]) -> list[list[str]]:
    """Groups of images with the same file content."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, fact in facts:
        groups[fact.digest].append(name)
    return [names for names in groups.values() if len(names) > 1]


def shared_images(train: Tally, held_out: Tally, most: int = NAMED) -> str | None:
    """A sentence on the images of `held_out` that are in `train` too, by content; None where there are none."""
    digests = {fact.digest for _, fact in train.facts}
    shared = [name for name, fact in held_out.facts if fact.digest in digests]
    if not shared:
        return None
    count = plural(len(shared), "image is", "images are")
    names = listed(map(shown, shared), most)
    return f"{held_out.name}: {count} also in {train.name}, by content, so that figures of val and test are too high: {names}"


def plural(count: int, one: str, several: str) -> str:
    """The number and the words that follow it."""
    return f"{count:,} {one if count == 1 else several}"


def listed(names: Iterable[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
