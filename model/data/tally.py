"""What was found in one part of the data, in numbers, names and sentences: what is used, what is left out, what is there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
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
    few_captions: list[str] = field(default_factory=list)
    """Images that are left out for having fewer."""
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
    shared_files: list[str] = field(default_factory=list)
    """Files that several images name."""
    surrogates: int = 0
    """Captions in which a lone surrogate was replaced."""
    facts: dict[str, Facts] = field(default_factory=dict)
    """Images that are used -> what is known of their files."""
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
            yield f"{self.name}: {counted(self.unreadable, 'image')} left out because of the file: {files}"
        if self.few_captions:
            fewer = f"with fewer than data.captions={self.captions} captions"
            yield f"{self.name}: {counted(self.few_captions, 'image')} left out, {fewer}: {listed(map(shown, self.few_captions), most)}"
        if self.empty:
            numbers = listed((shown(str(number)) for number in self.empty), most)
            yield f"{self.name}: {counted(self.empty, 'caption')} left out, without a word: number {numbers}"
        if self.orphans:
            yield f"{self.name}: {self.orphans:,} captions left out, of images that the file does not list"
        if self.repeated_images:
            names = listed(map(shown, self.repeated_images), most)
            yield f"{self.name}: {counted(self.repeated_images, 'image number')} with several entries, of which the first is used: {names}"
        if self.repeated_captions:
            yield f"{self.name}: {self.repeated_captions:,} captions have the number of another caption; all are used"
        if self.surrogates:
            yield f"{self.name}: {self.surrogates:,} captions contain half of a UTF-16 pair, which is replaced by U+FFFD"
        if self.shared_files:
            names = listed(map(shown, self.shared_files), most)
            yield f"{self.name}: {counted(self.shared_files, 'file')} named by several images, each a false negative of the others: {names}"
        groups = copies(self.facts)
        if groups:
            pairs = listed((" = ".join(map(shown, names)) for names in groups), most)
            yield f"{self.name}: {sum(map(len, groups)) - len(groups):,} images are copies of another one, each a false negative of it: {pairs}"


def copies(facts: dict[str, Facts]) -> list[list[str]]:
    """Groups of images with the same file content."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, fact in facts.items():
        groups[fact.digest].append(name)
    return [names for names in groups.values() if len(names) > 1]


def shared_images(train: Tally, held_out: Tally, most: int = NAMED) -> str | None:
    """A sentence on the images of `held_out` that are in `train` too, by content; None where there are none."""
    digests = {fact.digest for fact in train.facts.values()}
    shared = [name for name, fact in held_out.facts.items() if fact.digest in digests]
    if not shared:
        return None
    names = listed(map(shown, shared), most)
    return f"{held_out.name}: {counted(shared, 'image')} also in {train.name}, by content, so that figures of val and test are too high: {names}"


def kinds(tally: Tally) -> dict[str, int]:
    """File format -> images that are used, the most frequent first."""
    return dict(Counter(fact.format for fact in tally.facts.values()).most_common())


def counted(things: Iterable[object], what: str) -> str:
    """`1 image is`, `3 images are`."""
    count = len(list(things))
    return f"{count:,} {what} is" if count == 1 else f"{count:,} {what}s are"


def listed(names: Iterable[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
