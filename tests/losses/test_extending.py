"""docs/extending.md: following the page alone adds losses, trains a function, and shows what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import SMALL

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
COPIED = (
    *("model", "conf", "train.py", "pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/oracles.py"),
    *("tests/losses/names.py", "tests/losses/test_lines.py", "tests/losses/test_surface.py"),
)
ADDED = ("agreement", "cubed", "magnitude_match")
# A loss of which one part is missing, and the sentence of the page with this name.
LACKING = {"without_formula": "the function", "without_yaml": "the YAML", "without_oracle": "the oracle"}
# Runs the tests of the losses and then trains, in one process, because importing takes most of the time.
PROGRAM = """
import json, os, sys
import pytest
sys.dont_write_bytecode = True
code = pytest.main(["-q", "-n0", "-pno:cacheprovider", "--junitxml=report.xml", "-k", sys.argv[1],
                    "tests/losses/test_lines.py", "tests/losses/test_surface.py"])
from model.command import command_line
codes = []
for arguments in json.loads(sys.argv[2]):
    sys.argv = ["train.py", *arguments]
    codes.append(command_line())
print("CODES", codes)
"""


def blocks() -> list[tuple[str, str]]:
    """Returns the file and the content of each block of the page whose first line names a file."""
    return re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", PAGE, flags=re.M | re.S)


def add_block(folder: Path, file: str, content: str) -> None:
    """Adds a block where the page says: a line of SCORES to the oracles, a function to the end of its file. Does
    nothing if the clone has the block already, because its user follows the page.
    """
    path = folder / file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if content in text:
        return
    if file == "tests/oracles.py":
        text = text.replace("\nSCORES = {\n", f"\nSCORES = {{\n{content}")
    else:
        text = f"{text}\n\n{content}" if text else content
    path.write_text(text, encoding="utf-8")


def message(missing: str, name: str) -> str:
    """Returns the page's message for a missing part, with `name` for the name of the loss."""
    (text,) = re.findall(rf"^\| {missing} \| `(.*)` \|$", PAGE, flags=re.M)
    return text.replace("agreement", name)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Returns a copy of the project with the blocks of the page, and with three losses of which a part is missing."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for file, content in blocks():
        add_block(folder, file, content)
        for name, missing in LACKING.items():
            part = "the oracle" if "oracles" in file else "the YAML" if file.startswith("conf") else "the function"
            if "agreement" in content and part != missing:
                add_block(folder, file.replace("agreement", name), content.replace("agreement", name))
    return folder


@pytest.fixture(scope="module")
def outcome(project) -> tuple[subprocess.CompletedProcess, str]:
    """Returns what the program printed, and the report of its tests."""
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    small = [*SMALL, *quiet, "model=clip", "trainer.max_epochs=null", "trainer.max_steps=50"]
    commands = [
        [*small, "loss=own", "loss.function=my_losses:largest_feature", "hydra.run.dir=run_own"],
        [*small, "loss=magnitude_match", "trainer.max_steps=2", "hydra.run.dir=run_match"],
        [*small, "loss=without_formula", "hydra.run.dir=run_missing"],
    ]
    names = " or ".join([*ADDED, *LACKING])
    chosen = f"has_a or ({names}) and (line_scores or dense_scores_and or loss_and_gradients or yaml)"
    command = [sys.executable, "-c", PROGRAM, chosen, json.dumps(commands)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    return done, (project / "report.xml").read_text(encoding="utf-8")


def results(report: str) -> dict[str, str]:
    """Returns the failure of each test of a JUnit report, empty where it passed; skipped tests are left out."""
    cases = ElementTree.fromstring(report).iter("testcase")
    ran = [case for case in cases if case.find("skipped") is None]
    return {case.attrib["name"]: "".join(case.itertext()) for case in ran}


def letters(text: str) -> str:
    """Returns a text without quotes and line breaks, which pytest adds to a long sentence."""
    return re.sub(r"[`'\"\\\s]|\bE\b", "", text)


def test_the_page_has_all_pieces():
    files = [file for file, _ in blocks()]
    assert [file for file in files if file.startswith("conf/loss/")] == [f"conf/loss/{name}.yaml" for name in ADDED]
    assert files.count("tests/oracles.py") == 3
    assert "my_losses.py" in files


@pytest.mark.parametrize("name", ADDED)
def test_a_loss_of_the_page_equals_its_oracle(outcome, name):
    done, report = outcome
    of_name = {test: failure for test, failure in results(report).items() if name in test}
    assert len(of_name) == 7, done.stdout + done.stderr
    assert set(of_name.values()) == {""}


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("without_formula", "test_every_yaml_has_a_formula"),
        ("without_yaml", "test_every_formula_has_a_yaml"),
        ("without_oracle", "test_every_formula_has_an_oracle"),
    ],
)
def test_a_missing_piece_is_one_failure_with_one_sentence(outcome, name, test):
    _, report = outcome
    failures = {test: failure for test, failure in results(report).items() if failure}
    assert sorted(failures) == sorted(
        ["test_every_yaml_has_a_formula", "test_every_formula_has_a_yaml", "test_every_formula_has_an_oracle"]
    )
    assert letters(message(LACKING[name], name)) in letters(failures[test])


def test_the_own_function_trains_for_50_steps(outcome, project):
    done, _ = outcome
    assert "CODES [0, 0, 2]" in done.stdout, done.stdout + done.stderr
    summary = json.loads((project / "run_own" / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["steps"]["applied"] == 50
    assert json.loads((project / "run_match" / "summary.json").read_text())["status"] == "complete"


def test_a_loss_without_a_formula_says_where_to_write_it(outcome):
    done, _ = outcome
    assert message("the function", "without_formula") in done.stderr.replace("`", "")
