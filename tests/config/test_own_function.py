"""loss.function: its spelling, the digest of its file, and the errors of its module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model.config.compose import config_hash
from model.config.identity import digest
from model.config.own_function import load_function, source_digest
from model.errors import ConfigError
from model.report.sweep_jobs import with_later_keys

SOURCE = "def score(views):\n    return 2.0\n"
OWN = ("loss=own", "loss.function=scores:score")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Returns the current folder, with the modules `scores` and `package.inner`. Imports are forgotten afterwards."""
    before = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    Path("scores.py").write_text(SOURCE)
    Path("package").mkdir()
    Path("package/__init__.py").write_text("raise SystemError('the package was imported')\n")
    Path("package/inner.py").write_text(SOURCE)
    yield tmp_path
    for name in set(sys.modules) - before[0]:
        if name.partition(".")[0] in ("scores", "package", "sibling"):
            del sys.modules[name]
    sys.path[:] = before[1]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ("loss=own",),
            "loss.function=null names no function for loss=own; allowed: package.module:name of a function",
        ),
        (("loss=own", "loss.function=scores"), "loss.function=scores cannot be read; allowed: package.module:name"),
        (("loss=own", "loss.function=a-b:c"), "loss.function=a-b:c cannot be read"),
        (("loss=own", "loss.function=a..b:c"), "loss.function=a..b:c cannot be read"),
        (
            ("loss=norms", "loss.function=scores:score"),
            "loss.function=scores:score means nothing with loss=norms; allowed: loss.function=null, or loss=own",
        ),
        (
            ("loss=norms", "loss.family=product"),
            "loss.family=product does not belong to loss=norms; allowed: null or gram",
        ),
        (
            ("loss=norms", "loss.function_digest=abc"),
            "loss.function_digest=abc does not belong to loss.function=null; allowed: null",
        ),
        (
            ("loss=own", "loss.function=a:b", "loss.normalize=false", "loss.targets=none"),
            "loss.targets=none is not known",
        ),
    ],
)
def test_a_function_that_cannot_be_meant_is_refused_when_it_is_composed(composed, folder, overrides, text):
    with pytest.raises(ConfigError) as error:
        composed(*overrides)
    assert str(error.value).startswith(text)
    assert len(str(error.value).splitlines()) <= 2


def test_a_folder_of_a_package_needs_no_init_file(folder):
    Path("package/__init__.py").write_text("")
    Path("package/deep").mkdir()
    Path("package/deep/inner.py").write_text(SOURCE)
    function = "package.deep.inner:score"
    assert source_digest(function) == source_digest("scores:score")
    assert "package" not in sys.modules
    assert load_function(function, source_digest(function))([]) == 2.0


def test_a_function_composes_without_its_module(composed, folder):
    Path("scores.py").unlink()
    loss = composed(*OWN).loss
    assert (loss.name, loss.family, loss.function, loss.function_digest) == ("own", "own", "scores:score", None)


def test_the_digest_is_that_of_the_file_and_imports_nothing(folder):
    before = set(sys.modules)
    # sha256sum of SOURCE
    assert source_digest("scores:score") == source_digest("package.inner:score") == "fbfa557601d5"
    assert source_digest("package:score") not in (None, "fbfa557601d5")
    assert source_digest("scores.inner:score") is source_digest("absent:score") is source_digest("sys:exit") is None
    assert set(sys.modules) == before


def test_the_identity_of_a_run_has_the_content_of_the_file(composed, folder):
    hashes = [config_hash(composed(*OWN)), config_hash(composed("loss=own", "loss.function=scores:other"))]
    Path("scores.py").write_text(SOURCE.replace("2.0", "3.0"))
    hashes.append(config_hash(composed(*OWN)))
    assert len(set(hashes)) == 3
    Path("scores.py").write_text(SOURCE)
    assert config_hash(composed(*OWN)) == hashes[0]


def test_the_family_follows_from_the_name(composed):
    """This also holds for a user's own YAML file, which may have no family."""
    assert composed("loss=norms", "loss.family=null").loss.family == "gram"
    assert composed("loss=norms").loss.family == "gram"


def test_keys_that_follow_from_others_distinguish_no_jobs():
    old = {"model.name": "clip", "loss.name": "norms"}
    assert with_later_keys(
        old | {"loss.family": "gram", "loss.function": None, "loss.function_digest": None}
    ) == with_later_keys(old)
    assert digest({"loss": {"name": "norms"}}, ()) == digest({"loss": {"name": "norms", "family": "gram"}}, ())


def load(function: str):
    return load_function(function, source_digest(function))


def test_an_edited_module_is_imported_again_and_an_unchanged_one_is_not(folder):
    first = load("scores:score")
    assert first(()) == 2.0
    assert load("scores:score") is first
    Path("scores.py").write_text(SOURCE.replace("2.0", "3.0"))  # same length, within the same second
    assert load("scores:score")(()) == 3.0
    with pytest.raises(ConfigError, match=r"loss.function=scores:score was edited while the run started"):
        load_function("scores:score", "0" * 12)


def test_a_module_of_other_code_is_used_as_it_is(folder):
    before = sys.modules["json"]
    assert load("json:dumps") is before.dumps
    assert sys.modules["json"] is before


def test_a_module_may_import_its_neighbours(folder):
    Path("sibling.py").write_text("VALUE = 5.0\n")
    Path("scores.py").write_text("def score(views):\n    from sibling import VALUE\n    return VALUE\n")
    assert load("scores:score")(()) == 5.0


def test_the_search_path_of_python_comes_first(folder, monkeypatch):
    Path("elsewhere").mkdir()
    Path("elsewhere/scores.py").write_text(SOURCE.replace("2.0", "7.0"))
    monkeypatch.syspath_prepend("elsewhere")
    assert load("scores:score")(()) == 7.0


@pytest.mark.parametrize(
    ("source", "function", "text"),
    [
        (
            SOURCE,
            "absent:score",
            "loss.function=absent:score: there is no module absent; allowed: a module on PYTHONPATH",
        ),
        (
            "import nothing_here\n",
            "scores:score",
            "cannot be imported (ModuleNotFoundError: No module named 'nothing_here')",
        ),
        ("def score(:\n", "scores:score", "cannot be imported (SyntaxError: invalid syntax"),
        ("raise KeyError('a\\nb')\n", "scores:score", "cannot be imported (KeyError: "),
        ("raise SystemExit(0)\n", "scores:score", "cannot be imported (SystemExit: 0)"),
        (SOURCE, "scores:scores", "is not known; allowed: scores:score\ndid you mean loss.function=scores:score?"),
        ("", "scores:score", "is not known; allowed: a name in "),
        ("score = 3\n", "scores:score", "loss.function=scores:score is a int; allowed: a function"),
        (SOURCE, "package.inner:score", "cannot be imported (SystemError: the package was imported)"),
    ],
)
def test_a_module_that_has_no_such_function_is_refused_in_two_lines(folder, source, function, text):
    Path("scores.py").write_text(source)
    with pytest.raises(ConfigError) as error:
        load(function)
    assert text in str(error.value)
    assert len(str(error.value).splitlines()) <= 2
