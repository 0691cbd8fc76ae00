"""The code of the README and of docs/using.md, with a run in place of its placeholder."""

from __future__ import annotations

import re

import pytest
import torch

from tests.pages import blocks
from tests.project import ROOT


@pytest.fixture
def names(trained_run, tmp_path, monkeypatch) -> dict[str, object]:
    """What the code may use: pictures and captions, and the files cat.png and dog.png."""
    pictures = trained_run.pictures()
    for name, picture in zip(("cat.png", "dog.png"), pictures[4:6], strict=True):
        picture.save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return {"pictures": pictures[:3], "captions": trained_run.captions()[:3]}


def run_page(name: str, run, names: dict[str, object]) -> int:
    """Runs the Python code of a page, and returns the number of its lines that are not empty."""
    code = "\n".join(blocks((ROOT / name).read_text(encoding="utf-8"), "python"))
    exec(compile(re.sub(r"<[^>]*run>", str(run), code), name, "exec"), names)
    return len([line for line in code.splitlines() if line.strip()])


def test_the_five_lines_of_the_readme(trained_run, trained, names, capsys):
    assert run_page("README.md", trained_run.folder, names) == 5
    cosines = (
        trained.encode_images(trained_run.pictures()[4:6]) @ trained.encode_texts(["a cat", "a dog", "two birds"]).T
    )
    torch.testing.assert_close(names["images"] @ names["texts"].T, cosines)
    assert capsys.readouterr().out.strip() == str(cosines)


def test_the_code_of_the_page(trained_run, names, capsys):
    run_page("docs/using.md", trained_run.folder, names)
    printed = capsys.readouterr().out
    assert "('image', 'caption_1', 'decoded_2', 'encoded_2') torch.Size([4, 3, 16])" in printed
