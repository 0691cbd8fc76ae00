"""`python -m model.embed` and `python -m model.search`, their messages, and the help of all commands."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from model.embed.__main__ import main as embed
from model.export.__main__ import main as export
from model.search.__main__ import main as search
from model.search.hits import Hit
from model.search.page import render
from model.trained.picture_list import picture_files
from tests.report.html_page import Page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(picture_folder, tmp_path) -> Path:
    """Four pictures, one of them in a subfolder, one that is damaged, and files that are no pictures."""
    for name, target in (("00", "b.png"), ("01", "a.PNG"), ("02", "sub/c & <d>.png")):
        (tmp_path / "pictures" / "sub").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / target).write_bytes((picture_folder / f"{name}.png").read_bytes())
    (tmp_path / "pictures" / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    for other in ("notes.txt", ".hidden.png"):
        (tmp_path / "pictures" / other).write_text("no picture")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keeps features of this test apart from those of the user."""
    monkeypatch.setattr("model.data.remembered.cache_folder", lambda: tmp_path / "cache")


def test_features_of_a_folder_and_of_texts(trained_run, folder, tmp_path, capsys):
    """Rows 1, 0, 2 of the test split, in the alphabetical order of the names; the damaged file is named."""
    texts = tmp_path / "texts.txt"
    texts.write_text("a red circle\n\n  ein Quadrat – blau \n", encoding="utf-8")
    out = tmp_path / "new" / "features.npz"
    arguments = ["--images", str(folder), "--texts", str(texts), "--out", str(out), "--batch-size", "2"]
    assert embed([str(trained_run.folder), *arguments]) == 0
    printed = capsys.readouterr()
    assert "1 of 4 pictures cannot be read and are left out:" in printed.err
    assert "damaged.jpg begins like a JPEG file" in printed.err
    assert "image_features (3, 16), text_features (2, 16), paths (3,), texts (2,)" in printed.out
    found = np.load(out)
    assert found["paths"].tolist() == [str(folder / name) for name in ("a.PNG", "b.png", "sub/c & <d>.png")]
    assert found["texts"].tolist() == ["a red circle", "ein Quadrat – blau"]
    wanted = F.normalize(trained_run.test_views[0, [1, 0, 2]], dim=-1)
    torch.testing.assert_close(torch.from_numpy(found["image_features"]), wanted, rtol=1e-5, atol=1e-6)


def test_features_of_listed_files(trained_run, folder, tmp_path):
    """Paths are relative to the list; without texts there are no text features."""
    (folder / "list.txt").write_text("sub/c & <d>.png\nb.png\n")
    out = tmp_path / "features.npz"
    assert embed([str(trained_run.folder), "--images", str(folder / "list.txt"), "--out", str(out)]) == 0
    found = np.load(out)
    wanted = F.normalize(trained_run.test_views[0, [2, 0]], dim=-1)
    torch.testing.assert_close(torch.from_numpy(found["image_features"]), wanted, rtol=1e-5, atol=1e-6)
    assert found["text_features"].shape == (0, 16)


def test_features_of_a_split(trained_run, tmp_path):
    out = tmp_path / "features.npz"
    assert embed([str(trained_run.folder), "--split", "test", "--out", str(out), "--batch-size", "6"]) == 0
    found = dict(np.load(out))
    views = trained_run.test_views
    torch.testing.assert_close(torch.from_numpy(found["views"]), views, rtol=1e-5, atol=1e-6)
    units = torch.from_numpy(np.stack([found["image_features"], found["text_features"]]))
    torch.testing.assert_close(units, F.normalize(views[:2], dim=-1), rtol=1e-5, atol=1e-6)
    assert found["texts"].tolist() == [row[0] for row in trained_run.captions()]
    assert (found["paths"][3], found["names"].tolist()[2]) == ("test/3", "decoded_2")


def test_the_best_pictures_are_printed_and_shown(trained_run, folder, tmp_path, capsys, monkeypatch):
    """The order by hand, from the views of the run's own evaluation."""
    text = trained_run.captions()[1][0]
    image, caption = F.normalize(trained_run.test_views[:2], dim=-1)
    scores = dict(zip(("b.png", "a.PNG", "sub/c & <d>.png"), (image[:3] @ caption[1]).tolist(), strict=True))
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    monkeypatch.setenv("COLUMNS", "300")
    arguments = [text, "--images", str(folder), "--top", "2", "--html", str(tmp_path / "page.html")]
    assert search([str(trained_run.folder), *arguments]) == 0
    rows = re.findall(r"│ +(\d) │ +(-?\d\.\d{3}) │ (.*?) +│", capsys.readouterr().out)
    assert [row[0] for row in rows] == ["1", "2"]
    assert [row[2] for row in rows] == [str(folder / name) for name in ranked]
    assert [float(row[1]) for row in rows] == pytest.approx([scores[name] for name in ranked], abs=6e-4)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert [Image.open(BytesIO(base64.b64decode(source))).size for source in sources] == [(48, 48)] * 2


def test_a_page_is_whole_and_escapes_what_it_shows(tmp_path):
    Image.new("RGB", (600, 300), "red").save(tmp_path / "<b>&.png")
    hits = [Hit(0.25, str(tmp_path / "<b>&.png")), Hit(-1.0, str(tmp_path / "gone.png"))]
    page = render("<script>alert(1)</script>", hits, "runs/<i>")
    assert Page(page).texts("h1") == ["<script>alert(1)</script>"]
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert 'width="224" height="112"' in page
    assert page.count("<img") == 1
    assert "can no longer be read" in page


def test_features_are_computed_once_for_unchanged_pictures(trained_run, folder, monkeypatch, capsys):
    calls = []
    squares_of = sys.modules["model.trained.trained_model"].squares_of

    def counted(pictures, *rest):
        calls.extend(pictures)
        return squares_of(pictures, *rest)

    monkeypatch.setattr("model.trained.trained_model.squares_of", counted)
    arguments = [str(trained_run.folder), "red", "--images", str(folder)]
    assert search(arguments) == search(arguments) == 0
    once = len(calls)
    first, second = (part for part in capsys.readouterr().err.split("1 of 4") if part)
    assert first == second
    (folder / "b.png").write_bytes((folder / "a.PNG").read_bytes())
    assert search(arguments) == 0
    assert (once, len(calls)) == (7, 14)  # the three that can be read are read again after the fourth has failed


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (embed, ["--out", "x.npz"], "nothing to embed is given; allowed: --images"),
        (embed, ["--split", "test", "--texts", "t", "--out", "x.npz"], "--split is given with --images or --texts"),
        (embed, ["--texts", "missing", "--out", "x.npz"], "--texts=missing cannot be read (No such file"),
        (embed, ["--images", "missing", "--out", "x.npz"], "--images=missing cannot be read (No such file"),
        (
            embed,
            ["--images", ".", "--out", "x.npz"],
            "--images=. has no picture file; allowed: files that end with .jpg",
        ),
        (embed, ["--texts", "empty", "--out", "x.npz"], "--texts=empty is empty; allowed: a text file"),
        (embed, ["--texts", "texts"], "the following arguments are required: --out\nusage: python -m model.embed"),
        (search, ["red", "--images", "bad", "--top", "0"], "argument --top: 0 is not a whole number of 1 or more"),
        (
            search,
            ["red", "--images", "bad"],
            "none of the 1 pictures can be read, the first because bad/x.png is empty",
        ),
        (search, ["red", "--images", "bad", "--device", "abacus"], "device=abacus cannot be used here"),
        (search, ["red", "--images", "pictures.csv"], "pictures.csv:3: column file_name is empty"),
        (search, ["red", "--images", "none.csv"], "--images=none.csv is neither a file nor a folder"),
        (export, ["texts"], "texts is a file; allowed: a folder that does not exist, or is empty"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    command, arguments, message, trained_run, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").write_text("red")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "pictures.csv").write_text("file_name,text\na.png,red\n,blue\n")
    (tmp_path / "bad").mkdir()
    if "bad" in arguments:
        (tmp_path / "bad" / "x.png").touch()
    assert command([str(trained_run.folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") <= 2


def test_a_file_that_cannot_be_written_is_named(trained_run, tmp_path, capsys):
    (tmp_path / "texts").write_text("red")
    out = tmp_path / "texts" / "features.npz"
    assert embed([str(trained_run.folder), "--texts", str(tmp_path / "texts"), "--out", str(out)]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_help_imports_no_large_package():
    """Of all three commands, in one process."""
    code = (
        "import sys, contextlib\n"
        "for name in ('export', 'embed', 'search'):\n"
        "    main = getattr(__import__(f'model.{name}.__main__', fromlist=['main']), 'main')\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        main(['--help'])\n"
        "print({'torch', 'transformers', 'numpy', 'omegaconf'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert done.stdout.count("usage: python -m model.") == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pictures.csv", "text,file_name\nred,b.png\nblue,sub/a.png\nagain,b.png\n"),
        ("pictures.jsonl", '{"file_name": "b.png"}\n{"file_name": "sub/a.png", "text": 1}\n'),
        ("pictures.txt", "b.png\n\nsub/a.png\n"),
    ],
)
def test_pictures_of_a_table_or_a_list(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert picture_files(tmp_path / name) == [str(tmp_path / "b.png"), str(tmp_path / "sub" / "a.png")]
