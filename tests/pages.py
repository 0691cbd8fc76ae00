"""What a reader of the documentation can run or follow: fenced blocks, command lines and links of its pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.project import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPERIMENTS = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", flags=re.MULTILINE | re.DOTALL)
# A code span in a sentence or a table is a command if it begins with a program and an argument.
PROGRAMS = r"(?:\S*python3?|\S*pip|nway-clip|apt-get|torchrun|srun|\.ci/run|pre-commit|ruff|mypy|git)"
SPAN = re.compile(rf"`({PROGRAMS} [^`\n]+)`")
# The comment of an experiment file has a command after three spaces, and two spaces before a remark on it.
EXPERIMENT_LINE = re.compile(r"^#   (\S.*?)(?:  .*)?$", flags=re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in this language, in order, without the indentation of a list."""
    return [
        re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        for indent, name, code in FENCE.findall(text)
        if name == language
    ]


def commands(path: Path) -> list[str]:
    """The command lines of a page, from its blocks of shell and from code spans; of an experiment file, those of its
    comment. A line with `&&` is several commands.
    """
    text = path.read_text(encoding="utf-8")
    if path in EXPERIMENTS:
        return EXPERIMENT_LINE.findall(text)
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    spans = SPAN.findall(FENCE.sub("", text))
    return [line for line in [*lines, *spans] if line.strip() and not line.startswith("#")]


def words_of(line: str) -> list[list[str]]:
    """The words of each command of a line. A word that is only a placeholder is left out, and a placeholder inside a
    word becomes `placeholder`.
    """
    line = re.sub(r"(?<= )'?<[^>]*>'?(?= |$)", "", line)
    line = re.sub(r"<[^>]*>", "placeholder", line)
    return [shlex.split(command, comments=True) for command in line.split("&&")]


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures that lead to a file of the project or to a heading."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)) if "://" not in target]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings: lower case, without punctuation, with a hyphen for each space."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
