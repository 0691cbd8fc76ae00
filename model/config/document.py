"""docs/configuration.md, made from the comments of conf/: ``python -m model.config.document`` writes it anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from model.config.compose import CONF, groups

PAGE = CONF.parent / "docs" / "configuration.md"
SHARED = "_keys"
INTRO = """# Configuration

Every key of `conf/`, with its default and its meaning.
`python -m model.config.document` writes this page from the files in `conf/`: change those files, not this page.

`group=choice` selects a file, and `group.key=value` sets a key:
`python train.py loss=norms monitor.clip=1.0 data.batch_size=64`.
`python train.py --cfg job` prints the composed configuration.
A default `${a.b}` is the value of another key.
`hydra.run.dir=<folder>` is the folder of a run, and `hydra.sweep.dir=<folder>` that of a sweep.
"""


@dataclass(frozen=True)
class Entry:
    """One key of a file."""

    value: str
    """As it is written there."""
    comment: str


def document() -> str:
    """The page's text."""
    chosen = defaults()
    parts = [INTRO, "## The run\n\n" + key_table(entries(CONF / "train.yaml"), "")]
    for group, choices in groups().items():
        parts.append(experiments(choices) if group == "experiment" else section(group, choices, chosen[group]))
    return "\n".join(parts)


def defaults() -> dict[str, str]:
    """Group -> the choice that conf/train.yaml makes."""
    listed = re.search(r"^defaults:\n((?:  .*\n)+)", (CONF / "train.yaml").read_text(encoding="utf-8"), flags=re.M)
    return dict(re.findall(r"^  - (\w+): (\w+)", listed.group(1), flags=re.M)) if listed else {}


def entries(path: Path) -> dict[str, Entry]:
    """Keys of a YAML file's first level that have a value on their line, without the defaults list and the choice's
    name.
    """
    if not path.exists():
        return {}
    found = re.findall(r"^(\w+): *([^#\n]*?) *(?:# *(.*))?$", path.read_text(encoding="utf-8"), flags=re.M)
    return {key: Entry(value, comment) for key, value, comment in found if value and key not in ("defaults", "name")}


def heading(path: Path) -> list[str]:
    """The comment lines that a file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def effective(folder: Path, choice: str) -> dict[str, Entry]:
    """The keys that a choice comes to: its own over those of the files that it builds on. A key without a comment has
    that of the file below.
    """
    path = folder / f"{choice}.yaml"
    if not path.exists():
        return {}
    found: dict[str, Entry] = {}
    for below in re.findall(r"^  - (?!_self_)(\w+)$", path.read_text(encoding="utf-8"), flags=re.M):
        found |= effective(folder, below)
    for key, entry in entries(path).items():
        found[key] = Entry(entry.value, entry.comment or (found[key].comment if key in found else ""))
    return found


def section(group: str, choices: list[str], default: str) -> str:
    """A group: what its keys have in common, its keys, its choices. The default choice stands first."""
    ordered = [default, *(choice for choice in choices if choice != default)]
    found = {choice: effective(CONF / group, choice) for choice in ordered}
    shared = CONF / group / f"{SHARED}.yaml"
    common = [text(" ".join(heading(shared))) + "\n"] if shared.exists() else []
    keys = keys_of(group, found)
    return "\n".join(
        [f"## `{group}`\n", *common, *([key_table(keys, f"{group}.")] if keys else []), choice_table(group, found)]
    )


def keys_of(group: str, found: dict[str, dict[str, Entry]]) -> dict[str, Entry]:
    """Key -> its value in the first choice that has it and its meaning, which says which choices have it where not all
    do.
    """
    keys: dict[str, Entry] = {}
    for key in dict.fromkeys(key for entries in found.values() for key in entries):
        having = {choice: entries[key] for choice, entries in found.items() if key in entries}
        told = next((entry.comment for entry in having.values() if entry.comment), "")
        if len(having) < len(found):
            told = "; ".join(f"with `{group}={choice}`: {entry.comment}" for choice, entry in having.items())
        keys[key] = Entry(next(iter(having.values())).value, told)
    return keys


def key_table(keys: dict[str, Entry], prefix: str) -> str:
    """One row a key."""
    rows = [f"| `{prefix}{key}` | {code(entry.value)} | {text(entry.comment)} |" for key, entry in keys.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows, ""])


def choice_table(group: str, found: dict[str, dict[str, Entry]]) -> str:
    """One row a choice: what it is, and which defaults it changes."""
    rows = []
    first = next(iter(found.values()))
    for place, (choice, entries) in enumerate(found.items()):
        changed = [
            code(f"{key}={entry.value}")
            for key, entry in entries.items()
            if key in first and entry.value != first[key].value
        ]
        told = text(" ".join(heading(CONF / group / f"{choice}.yaml")))
        rows.append(f"| `{choice}`{'' if place else ' (default)'} | {told} | {', '.join(changed)} |")
    return "\n".join([f"| `{group}=` | | other defaults |", "|---|---|---|", *rows, ""])


def experiments(choices: list[str]) -> str:
    """Whole settings: what each is, and its commands."""
    rows = []
    for choice in choices:
        lines = heading(CONF / "experiment" / f"{choice}.yaml")
        commands = [re.split(r" {2,}", line.strip())[0] for line in lines if line.startswith("  ")]
        words = " ".join(line for line in lines if not line.startswith("  "))
        rows.append(f"| `{choice}` | {text(words)} | {'<br>'.join(map(code, commands))} |")
    return "\n".join(["## `experiment`\n", "| `experiment=` | | command |", "|---|---|---|", *rows, ""])


def code(value: str) -> str:
    """In a table's cell, as typed."""
    return f"`{text(value, plain=False)}`"


def text(words: str, *, plain: bool = True) -> str:
    """In a table's cell, with nothing in it taken for markup but `code`."""
    parts = words.replace("|", "\\|").split("`")
    return "`".join(
        part.replace("*", "\\*").replace("<", "&lt;") if plain and place % 2 == 0 else part
        for place, part in enumerate(parts)
    )


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
    print(PAGE)
