"""Generates documentation from the comments of conf/: docs/configuration.md, and the tables of losses in README.md and
docs/losses.md.

``python -m model.config.document`` writes the pages; with ``--check`` it names each stale page and exits with 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.config.compose import CONF, groups, loss_family
from model.errors import ConfigError

ROOT = CONF.parent
PAGE = ROOT / "docs" / "configuration.md"
COMMAND = "python -m model.config.document"
SHARED = "_keys"
# The choice of a group within another one, such as data/transforms.
INNER_DEFAULT = "none"
INTRO = f"""# Configuration

This page lists every key of `conf/` with its default and its meaning.
`{COMMAND}` writes this page from the files in `conf/`: change those files, not this page.

`group=choice` selects a file, and `group.key=value` sets a key:
`python train.py loss=norms monitor.clip=1.0 data.batch_size=64`.
`python train.py --cfg job` prints the composed configuration.
A default `${{a.b}}` is the value of another key.
`hydra.run.dir=<folder>` is the folder of a run, and `hydra.sweep.dir=<folder>` is the folder of a sweep.
[losses.md](losses.md) defines the words view, tuple, match, direction, anchor, candidate and line.
"""
BEGIN, END = "<!-- losses: begin -->", "<!-- losses: end -->"
# Line 1 of a loss: its formula, its cost, and its number in the old code.
LOSS_LINE = re.compile(r"(?P<formula>.+)\. Cost: (?P<cost>.+?)\.(?: Old logitsversion (?P<old>.+)\.)?")


@dataclass(frozen=True)
class Entry:
    """One key of a file."""

    value: str
    """The text of the value in the file."""
    comment: str


def document() -> str:
    """Returns the text of docs/configuration.md."""
    chosen = defaults()
    sections = [INTRO, "## The run\n\n" + key_table(entries(CONF / "train.yaml"), "")]
    for group, choices in groups().items():
        default = chosen.get(group, INNER_DEFAULT)
        sections.append(experiments(choices) if group == "experiment" else section(group, choices, default))
    return "\n".join(sections)


def with_loss_table(before: str) -> str:
    """Returns a page with the table of losses between its two markers. Raises ConfigError if a marker is missing."""
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"a page has no table of losses; allowed: a page with the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{loss_table()}\n{END}{tail}"


# Page -> its text, given its present text.
PAGES: dict[Path, Callable[[str], str]] = {
    PAGE: lambda before: document(),
    ROOT / "README.md": with_loss_table,
    ROOT / "docs" / "losses.md": with_loss_table,
}


def defaults() -> dict[str, str]:
    """Returns for each group the choice that conf/train.yaml makes."""
    listed = re.search(r"^defaults:\n((?:  .*\n)+)", (CONF / "train.yaml").read_text(encoding="utf-8"), flags=re.M)
    return dict(re.findall(r"^  - (\w+): (\w+)", listed.group(1), flags=re.M)) if listed else {}


def entries(path: Path) -> dict[str, Entry]:
    """Returns the keys of a YAML file's first level whose value is on their line, without the defaults list and the
    choice's name.
    """
    if not path.exists():
        return {}
    lines = re.findall(r"^(\w+): *([^#\n]*?) *(?:# *(.*))?$", path.read_text(encoding="utf-8"), flags=re.M)
    return {key: Entry(value, comment) for key, value, comment in lines if value and key not in ("defaults", "name")}


def heading(path: Path) -> list[str]:
    """Returns the comment lines that a file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def effective(folder: Path, choice: str) -> dict[str, Entry]:
    """Returns the keys of a choice: its own override those of the files that it builds on. A key without a comment has
    the comment of the file below.
    """
    path = folder / f"{choice}.yaml"
    if not path.exists():
        return {}
    keys: dict[str, Entry] = {}
    for below in re.findall(r"^  - (?!_self_)(\w+)$", path.read_text(encoding="utf-8"), flags=re.M):
        keys |= effective(folder, below)
    for key, entry in entries(path).items():
        keys[key] = Entry(entry.value, entry.comment or (keys[key].comment if key in keys else ""))
    return keys


def section(group: str, choices: list[str], default: str) -> str:
    """Returns the section of a group: what its keys have in common, its keys, its choices. The default choice is the
    first.
    """
    ordered = [default, *(choice for choice in choices if choice != default)]
    by_choice = {choice: effective(CONF / group, choice) for choice in ordered}
    shared = CONF / group / f"{SHARED}.yaml"
    common = [text(" ".join(heading(shared))) + "\n"] if shared.exists() else []
    keys = keys_of(group, by_choice)
    prefix = f"{group.replace('/', '.')}."
    tables = [*([key_table(keys, prefix)] if keys else []), choice_table(group, by_choice)]
    return "\n".join([f"## `{group}`\n", *common, *tables])


def keys_of(group: str, by_choice: dict[str, dict[str, Entry]]) -> dict[str, Entry]:
    """Returns for each key its value in the first choice that has it, and its meaning. If only some choices have the
    key, the meaning names these choices.
    """
    keys: dict[str, Entry] = {}
    for key in dict.fromkeys(key for entries in by_choice.values() for key in entries):
        having = {choice: entries[key] for choice, entries in by_choice.items() if key in entries}
        meaning = next((entry.comment for entry in having.values() if entry.comment), "")
        if len(having) < len(by_choice):
            meaning = "; ".join(f"with `{group}={choice}`: {entry.comment}" for choice, entry in having.items())
        keys[key] = Entry(next(iter(having.values())).value, meaning)
    return keys


def key_table(keys: dict[str, Entry], prefix: str) -> str:
    """Returns a table with a row for each key."""
    rows = [f"| `{prefix}{key}` | {code(entry.value)} | {text(entry.comment)} |" for key, entry in keys.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows, ""])


def choice_table(group: str, by_choice: dict[str, dict[str, Entry]]) -> str:
    """Returns a table with a row for each choice: what it is, and which defaults it changes."""
    rows = []
    first = next(iter(by_choice.values()))
    for place, (choice, entries) in enumerate(by_choice.items()):
        changed = [
            code(f"{key}={entry.value}")
            for key, entry in entries.items()
            if key in first and entry.value != first[key].value
        ]
        meaning = text(" ".join(heading(CONF / group / f"{choice}.yaml")))
        rows.append(f"| `{choice}`{'' if place else ' (default)'} | {meaning} | {', '.join(changed)} |")
    return "\n".join([f"| `{group}=` | | other defaults |", "|---|---|---|", *rows, ""])


def experiments(choices: list[str]) -> str:
    """Returns the section of the experiments: what each is, and its commands."""
    rows = []
    for choice in choices:
        lines = heading(CONF / "experiment" / f"{choice}.yaml")
        commands = [re.split(r" {2,}", line.strip())[0] for line in lines if line.startswith("  ")]
        words = " ".join(line for line in lines if not line.startswith("  "))
        rows.append(f"| `{choice}` | {text(words)} | {'<br>'.join(map(code, commands))} |")
    return "\n".join(["## `experiment`\n", "| `experiment=` | | command |", "|---|---|---|", *rows, ""])


def loss_table() -> str:
    """Returns a table with a row for each loss, ordered by family and name. Raises ConfigError if line 1 of a file is
    not `# <formula>. Cost: <cost>.`, with or without `Old logitsversion <number>.` at its end.
    """
    rows = []
    for family, name in sorted((loss_family(name), name) for name in groups()["loss"]):
        line = heading(CONF / "loss" / f"{name}.yaml")[0]
        match = LOSS_LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"line 1 of conf/loss/{name}.yaml is {line!r}; allowed: # <formula>. Cost: <cost>.")
        cells = [text(match[key] or "") for key in ("formula", "cost", "old")]
        rows.append(f"| `{name}` | {cells[0]} | {family} | {cells[1]} | {cells[2]} |")
    header = "| `loss=` | score of a tuple | family | cost | old `logitsversion` |"
    return "\n".join([header, "|---|---|---|---|---|", *rows, ""])


def code(value: str) -> str:
    """Returns the content of a table's cell that shows the value as code."""
    return f"`{text(value, plain=False)}`"


def text(words: str, *, plain: bool = True) -> str:
    """Returns the content of a table's cell in which only `code` is markup."""
    pieces = words.replace("|", "\\|").split("`")
    return "`".join(
        piece.replace("*", "\\*").replace("<", "&lt;") if plain and place % 2 == 0 else piece
        for place, piece in enumerate(pieces)
    )


def stale_pages() -> dict[Path, str]:
    """Returns the pages whose text differs from what conf/ says, each with its new text."""
    before = {page: page.read_text(encoding="utf-8") if page.exists() else "" for page in PAGES}
    now = {page: generate(before[page]) for page, generate in PAGES.items()}
    return {page: now[page] for page in PAGES if now[page] != before[page]}


def main() -> int:
    """Writes the stale pages, or with --check names them; returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Generates pages of the documentation from conf/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args().check
    pages = stale_pages()
    for page, content in pages.items():
        if check:
            print(f"{page.relative_to(ROOT)} is stale; run {COMMAND}", file=sys.stderr)
        else:
            page.write_text(content, encoding="utf-8")
            print(page)
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
