"""What the documentation tells a reader to run can be run, and its links lead somewhere.

tests/legacy/test_migration_page.py does this for docs/migration.md, test_extending.py follows docs/extending.md, and
tests/health/test_documentation.py runs the training loops of docs/gradient-health.md, and
tests/trained/test_pages.py the code of the README and of docs/using.md.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from model.config.arguments import check_arguments, check_flags
from model.config.compose import groups
from tests.conftest import compose_run
from tests.pages import EXPERIMENTS, PAGES, anchors, blocks, commands, links, words_of
from tests.project import ROOT, extras

OWN_TESTS = {"migration.md", "extending.md"}
OWN_TESTS_OF_CODE = {*OWN_TESTS, "gradient-health.md", "README.md", "using.md"}
# Modules of other packages that the pages run with python -m.
OTHER_MODULES = {"pip", "pytest", "venv"}
# Programs whose arguments are not checked.
OTHER_PROGRAMS = {"git", "cd", "source", "mypy", "pre-commit", "ruff", ".ci/run"}
# For pip: whether a value follows the option.
PIP_OPTIONS = {"-c": True, "-e": False, "-q": False, "--no-deps": False, "-w": True}


def name_of(path: Path) -> str:
    """The path of a page inside the project."""
    return path.relative_to(ROOT).as_posix()


TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
WITH_CODE = [page for page, text in TEXTS.items() if page.name not in OWN_TESTS_OF_CODE and blocks(text, "python")]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_python_code_of_a_page_runs(page):
    names: dict[str, object] = {}
    for block in blocks(TEXTS[page], "python"):
        exec(compile(block, name_of(page), "exec"), names)


def sweep_values(overrides: list[str]) -> list[list[str]]:
    """The overrides of jobs in which each value of a sweep occurs: a first job with the first value of each key, and
    one more for each further value.
    """
    parsed = OverridesParser.create().parse_overrides(overrides)
    values = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [text]
        for override, text in zip(parsed, overrides, strict=True)
    ]
    first = [choices[0] for choices in values]
    others = [[*first[:at], value, *first[at + 1 :]] for at, choices in enumerate(values) for value in choices[1:]]
    return [first, *others]


def check_training(words: list[str]) -> None:
    """The arguments of train.py or nway-clip: the program accepts them, and the configuration of each job composes."""
    known = groups()
    arguments = [word for word in words if not (word.endswith("=placeholder") and word.split("=")[0] in known)]
    check_arguments(arguments)
    for overrides in sweep_values(check_flags(arguments)):
        compose_run(*overrides)


def check_module(words: list[str]) -> None:
    """The arguments of python -m: the module exists and can be run; settings after it compose."""
    name, *arguments = words
    if not name.startswith(("model", "tests")):
        assert name in OTHER_MODULES
        return
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    assert spec is not None, name
    assert '__name__ == "__main__"' in Path(spec.origin).read_text(encoding="utf-8") or name in ("model.legacy",)
    if name == "model.data.check":
        compose_run(*arguments)


def check_pip(words: list[str]) -> None:
    """The arguments of pip install and pip wheel: known options, files that exist, extras of pyproject.toml."""
    command, *arguments = words
    assert command in ("install", "wheel")
    targets = []
    remaining = iter(arguments)
    for word in remaining:
        if word.startswith("-"):
            if PIP_OPTIONS[word]:
                assert (ROOT / next(remaining)).is_file()
        else:
            targets.append(re.fullmatch(r"(\.|nway-clip|[\w./-]+\.whl)(?:\[([\w,]+)\])?", word))
    assert targets
    for target in targets:
        assert target is not None
        assert set((target.group(2) or "").split(",")) - {""} <= extras()


def check_apt_get(words: list[str]) -> None:
    """The arguments of apt-get: it installs packages."""
    assert words[0] == "install"
    assert all(re.fullmatch(r"[a-z][a-z0-9+.-]*", word) for word in words[1:])


def check_command(words: list[str]) -> None:
    """One command of a page. Fails for a program that is not known here, so that no line goes unchecked."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if "train.py" in words:
        check_training(words[words.index("train.py") + 1 :])
        return
    program, *arguments = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "nway-clip": check_training, "pip": check_pip, "apt-get": check_apt_get
    }  # fmt: skip
    name = program.removeprefix(".venv/bin/")
    if re.fullmatch(r"python3?", name):
        if arguments[0] == "-m":
            check_module(arguments[1:])
        else:
            assert (ROOT / arguments[0]).is_file(), arguments[0]
    elif name in checks:
        checks[name](arguments)
    else:
        assert name in OTHER_PROGRAMS, program


LINES = [(path, line) for path in [*PAGES, *EXPERIMENTS] if path.name not in OWN_TESTS for line in commands(path)]


def case(path: Path, line: str):
    """A command as a case of a test. A sweep of many jobs is slow, because each job is composed."""
    marks = [pytest.mark.slow] if " -m " in line and line.count(",") > 2 else []
    return pytest.param(path, line, id=f"{name_of(path)}: {line[:60]}", marks=marks)


@pytest.mark.parametrize(("path", "line"), [case(path, line) for path, line in LINES])
def test_a_command_is_accepted(path, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in words_of(line):
        check_command(words)


def test_commands_are_found():
    """In blocks, in sentences, in tables and in experiment files."""
    found = [words for path in [*PAGES, *EXPERIMENTS] for line in commands(path) for words in words_of(line)]
    assert sum("train.py" in words for words in found) > 30
    assert sum("install" in words for words in found) > 5
    assert sum("-m" in words and any(word.startswith("model.") for word in words) for words in found) > 5
    assert {path for path in EXPERIMENTS if not commands(path)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in links(TEXTS[page]):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(TEXTS[linked]), target


def test_every_page_can_be_reached_from_the_readme():
    reached, open_pages = set(), [PAGES[0]]
    while open_pages:
        page = open_pages.pop()
        reached.add(page)
        targets = (page.parent / target.partition("#")[0] for target in links(TEXTS[page]))
        open_pages.extend(({path.resolve() for path in targets} & set(PAGES)) - reached)
    assert reached == set(PAGES)
