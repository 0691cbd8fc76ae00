"""Reads a run's page as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

# The titles of all sections, in order.
SECTIONS = [
    "Recall",
    "Retrieved examples",
    "Training",
    "Classification",
    "Features",
    "Layers",
    "Gradient health",
    "Tokens",
]
# Elements without an end tag.
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes and its text. Raises AssertionError if the elements are
    not closed in order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict]:
        """Returns the elements of a tag with these attributes (`class_` for class)."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element["tag"] == tag and all(element.get(key) == value for key, value in wanted.items())
        ]

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """Returns the texts of `all(tag, …)`, with single spaces."""
        return [" ".join(element["text"].split()) for element in self.all(tag, **attributes)]
