"""An installed package is complete: a wheel that is built from a source distribution has what a clone has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from model.config.compose import CONF, composed_run, config_hash, groups
from model.config.document import document
from tests.project import ROOT, project_file

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "model", "conf")
BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
# What a program finds that imports the installed package, and then what the command prints.
LOOK = """
import json, sys
from model.command import main
from model.config.compose import CONF, composed_run, config_hash, groups
from model.config.document import document
print(json.dumps([str(CONF), groups(), config_hash(composed_run(["loss=norms"])), document()]))
sys.argv = ["nway-clip", "--help"]
main()
"""


def build(kind: str, source: Path, target: Path) -> Path:
    """Calls the build backend in `source` as pip does without build isolation; the file that it writes to `target`."""
    command = [sys.executable, "-c", BUILD, kind, str(target)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return target / built.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel, built from a source distribution, as a package index would hold both."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "clone").mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / "clone" / name)
    with tarfile.open(build("build_sdist", folder / "clone", folder)) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return build("build_wheel", source, folder)


def test_the_list_of_packages_is_complete():
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "model").rglob("__init__.py")}
    assert set(project_file()["tool"]["setuptools"]["packages"]) == {
        *(folder.replace("/", ".") for folder in folders),
        "model.conf",
    }


@pytest.mark.slow
def test_a_wheel_has_every_file_of_the_package_and_of_conf(wheel):
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "model").rglob("*") if path.is_file()}
    choices = {f"model/conf/{path.relative_to(CONF).as_posix()}" for path in CONF.rglob("*.yaml")}
    expected = {name for name in code if "__pycache__" not in name} | choices
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    assert len(choices) > 50


@pytest.mark.slow
def test_a_wheel_installs_one_command(wheel):
    archive = zipfile.ZipFile(wheel)
    (scripts,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert archive.read(scripts).decode().split() == ["[console_scripts]", "nway-clip", "=", "model.command:main"]


@pytest.mark.slow
def test_an_installed_package_finds_its_configuration(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONDONTWRITEBYTECODE": "1"}
    (tmp_path / "elsewhere").mkdir()
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True
    )
    assert looked.returncode == 0, looked.stderr
    facts, usage = looked.stdout.split("\n", 1)
    conf, choices, digest, page = json.loads(facts)
    assert conf == str(tmp_path / "installed" / "model" / "conf")
    assert choices == groups()
    assert digest == config_hash(composed_run(["loss=norms"]))
    assert page == document()
    assert all(choice in usage for group in groups().values() for choice in group)
