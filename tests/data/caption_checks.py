"""Reads the captions of scenes word by word, and decides whether they are true. Shares no table with the code under
test.
"""

from __future__ import annotations

import re

COLOURS = {"red", "orange", "yellow", "green", "cyan", "blue", "purple", "white"}
SHAPES = {"circle", "square", "triangle", "cross", "ring", "diamond", "bar", "pole"}
# Place -> (row, column), counted from the top left.
PLACES = {
    "top left": (0, 0), "top middle": (0, 1), "top right": (0, 2),
    "middle left": (1, 0), "centre": (1, 1), "middle right": (1, 2),
    "bottom left": (2, 0), "bottom middle": (2, 1), "bottom right": (2, 2),
}  # fmt: skip
SMALL, LARGE = {"small", "little", "tiny"}, {"large", "big", "huge"}
NUMBERS = {"none": 0, "one": 1, "two": 2, "three": 3}


def only(words: set[str], text: str) -> str | None:
    """Returns the only word of `words` that is in `text`. None if there are none or several."""
    present = [word for word in words if re.search(rf"\b{word}\b", text)]
    return present[0] if len(present) == 1 else None


def scene(objects) -> list[dict]:
    """Returns the objects as words: colour, shape, size ("small", "large"), (row, column)."""
    return [
        {"colour": t.colour, "shape": t.shape, "size": ("small", "large")[t.size], "place": divmod(t.cell, 3)}
        for t in objects
    ]


def colours_shapes_and_places(caption: str, objects: list[dict]) -> bool:
    """Checks caption 1: every object's colour, shape and place, and no more objects."""
    facts = [
        (only(COLOURS, p), only(SHAPES, p), PLACES.get(only(set(PLACES), p))) for p in re.split(", | and ", caption)
    ]
    return sorted(facts, key=str) == sorted(((o["colour"], o["shape"], o["place"]) for o in objects), key=str)


def inventory(caption: str, objects: list[dict]) -> bool:
    """Checks caption 2: the number; size, colour and shape of each object; no place."""
    number = only(set(NUMBERS), caption)
    phrases = [phrase for phrase in re.split("[,:]| with | and ", caption) if only(SHAPES, phrase)]
    facts = [
        ("small" if only(SMALL, p) else "large" if only(LARGE, p) else None, only(COLOURS, p), only(SHAPES, p))
        for p in phrases
    ]
    true = sorted(facts, key=str) == sorted(((o["size"], o["colour"], o["shape"]) for o in objects), key=str)
    return true and NUMBERS[number] == len(objects) and not only(set(PLACES), caption)


def colours_and_places(caption: str, objects: list[dict]) -> bool:
    """Checks caption 3: colour and place of each object; no shape."""
    facts = [(only(COLOURS, p), PLACES.get(only(set(PLACES), p))) for p in re.split(", | and ", caption)]
    true = sorted(facts, key=str) == sorted(((o["colour"], o["place"]) for o in objects), key=str)
    return true and not any(re.search(rf"\b{shape}\b", caption) for shape in SHAPES)


def relations(caption: str, objects: list[dict]) -> bool:
    """Checks caption 4: the only object, or pairs of objects and their places relative to each other."""
    names = r"(\w+) (\w+)"
    if len(objects) == 1:
        pairs = [
            pair for pair in re.findall(names, re.sub("just one |nothing but a ", "", caption)) if pair[0] in COLOURS
        ]
        return pairs == [(objects[0]["colour"], objects[0]["shape"])] and bool(
            re.search("alone|just one|nothing but", caption)
        )
    holds = {
        "left of": lambda a, b: a[1] < b[1],
        "right of": lambda a, b: a[1] > b[1],
        "above": lambda a, b: a[0] < b[0],
        "below": lambda a, b: a[0] > b[0],
    }
    holds |= {
        "to the left of": holds["left of"],
        "to the right of": holds["right of"],
        "over": holds["above"],
        "under": holds["below"],
    }
    for phrase in caption.split(", "):
        match = re.fullmatch(rf"{names} (.+) {names}", phrase)
        if match is None or match[3] not in holds:
            return False
        colour, shape, relation, other_colour, other_shape = match.groups()
        firsts = [o for o in objects if (o["colour"], o["shape"]) == (colour, shape)]
        seconds = [o for o in objects if (o["colour"], o["shape"]) == (other_colour, other_shape)]
        if not any(holds[relation](a["place"], b["place"]) for a in firsts for b in seconds):
            return False
    return len(caption.split(", ")) == len(objects) - 1


def shapes_and_sizes(caption: str, objects: list[dict]) -> bool:
    """Checks caption 5: the shapes, and the number of large or small objects; no colour, no place."""
    shapes = [word for word in re.findall(r"\w+", caption) if word in SHAPES]
    counts = {kind: sum(o["size"] == kind for o in objects) for kind in ("small", "large")}
    facts = re.findall(r"(none|one|two|three) (?:of them )?(small|little|large|big)", caption)
    true = all(NUMBERS[number] == counts["small" if size in SMALL else "large"] for number, size in facts)
    return bool(facts) and true and sorted(shapes) == sorted(o["shape"] for o in objects) and not only(COLOURS, caption)


CHECKS = (colours_shapes_and_places, inventory, colours_and_places, relations, shapes_and_sizes)
