"""What is used, left out or repeated in one part of the data, in numbers, names and sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from model.data.pictures import Facts
from model.data.text import shown

# The most files that one message names.
NAMED = 20


@dataclass
class Tally:
    """One part, such as train2017."""

    name: str
    captions: int
    """`data.captions`: images with fewer are left out."""
    images: int = 0
    """Images in the annotation file, each id counted once."""
    captions_of_images: list[int] = field(default_factory=list)
    """Number of captions of each image."""
    few_captions: dict[int | str, str] = field(default_factory=dict)
    """Images that are left out because they have fewer captions: id -> file."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Images that are left out because of their files: file -> the reason."""
    repeated_images: list[str] = field(default_factory=list)
    """Files of the images whose id has further entries, which are left out."""
    repeated_captions: int = 0
    """Captions with the id of another caption; all are used."""
    empty: list[int | str] = field(default_factory=list)
    """Ids of the captions without a word, which are left out."""
    orphans: int = 0
    """Captions whose image is not in the file, which are left out."""
    surrogates: int = 0
    """Captions in which a lone surrogate was replaced."""
    facts: list[tuple[str, Facts]] = field(default_factory=list)
    """The file of each image that is used, and facts about it, in the order of the rows."""
    examined: int = 0
    """Files that were decoded because they were not known from earlier runs."""

    def left_out(self) -> int:
        """The number of images, entries and captions that are not used."""
        return sum(map(len, (self.few_captions, self.unreadable, self.repeated_images, self.empty))) + self.orphans

    def reasons(self) -> str:
        """Why there are not more images, in brackets; empty where all are used."""
        found = []
        if self.few_captions:
            found.append(f"{len(self.few_captions):,} with fewer than data.captions={self.captions} captions")
        if self.unreadable:
            found.append(f"{len(self.unreadable):,} whose file cannot be used")
        return f" (left out of {self.images:,}: {' and '.join(found)})" if found else ""

    def warnings(self, most: int = NAMED) -> Iterator[str]:
        """A sentence for everything that is left out or unexpected, each with the first `most` names."""
        if self.unreadable:
            files = listed((f"{shown(name)} {reason}" for name, reason in self.unreadable.items()), most)
            count = plural(
                len(self.unreadable),
                "image is left out because of its file",
                "images are left out because of their files",
            )
            yield f"{self.name}: {count}: {files}"
        if self.few_captions:
            count = plural(
                len(self.few_captions), "image is left out because it has", "images are left out because they have"
            )
            files = listed(map(shown, self.few_captions.values()), most)
            yield f"{self.name}: {count} fewer than data.captions={self.captions} captions: {files}"
        if self.empty:
            count = plural(
                len(self.empty), "caption is left out because it has", "captions are left out because they have"
            )
            yield f"{self.name}: {count} no word: id {listed((shown(str(number)) for number in self.empty), most)}"
        if self.orphans:
            yield (
                f"{self.name}: {plural(self.orphans, 'caption is', 'captions are')} left out because the file does "
                f"not list the image"
            )
        if self.repeated_images:
            names = listed(map(shown, self.repeated_images), most)
            ids = plural(len(self.repeated_images), "image id has", "image ids have")
            yield f"{self.name}: {ids} several entries; the first one is used: {names}"
        if self.repeated_captions:
            yield (
                f"{self.name}: {plural(self.repeated_captions, 'caption has', 'captions have')} the id of another "
                f"caption; all are used"
            )
        if self.surrogates:
            contain = plural(self.surrogates, "caption contains", "captions contain")
            yield f"{self.name}: {contain} half of a UTF-16 surrogate pair; it is replaced by U+FFFD"
        groups = copies(self.facts)
        if groups:
            pairs = listed((" = ".join(map(shown, names)) for names in groups), most)
            count = sum(map(len, groups)) - len(groups)
            copy = plural(count, "image is a copy of another one", "images are copies of others")
            yield f"{self.name}: {copy} (same file content); copies are false negatives of each other: {pairs}"


def copies(facts: Iterable[tuple[str, Facts]]) -> list[list[str]]:
    """Groups of images with the same file content."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, fact in facts:
        groups[fact.digest].append(name)
    return [names for names in groups.values() if len(names) > 1]


def shared_images(train: Tally, held_out: Tally, most: int = NAMED) -> str | None:
    """A sentence on the images of `held_out` whose file content is that of an image of `train`; None where there are
    none.
    """
    digests = {fact.digest for _, fact in train.facts}
    shared = [name for name, fact in held_out.facts if fact.digest in digests]
    if not shared:
        return None
    count = plural(len(shared), "image is", "images are")
    names = listed(map(shown, shared), most)
    return (
        f"{held_out.name}: {count} also in {train.name} (same file content), so that the figures of val and test "
        f"are too high: {names}"
    )


def plural(count: int, one: str, several: str) -> str:
    """The number and the words that follow it."""
    return f"{count:,} {one if count == 1 else several}"


def listed(names: Iterable[str], most: int) -> str:
    """The first `most` names, and the number of the others."""
    found = list(names)
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
