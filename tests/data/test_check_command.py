"""python -m model.data.check prints which data of a folder a run would use. The tests make the folder's faults."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from model.data.check import main
from tests.data.coco_folder import write_captions, write_folder

SIZES = [
    "data.val_size=4",
    "data.test_size=4",
    "data.batch_size=8",
    "data.vocab_size=300",
    "backbone.context_length=16",
]


@pytest.fixture
def report(tmp_path, capsys):
    """Runs the command on tmp_path. Returns its exit code, the lines of its output and its error."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        code = main(["data=coco", f"data.root={tmp_path}", *SIZES, *arguments])
        output = capsys.readouterr()
        return code, output.out.splitlines(), output.err

    return run


def cells(lines: list[str], name: str) -> list[str]:
    """Returns the cells of the first row of the table whose name begins with `name`."""
    row = next(line for line in lines if line.startswith(name))
    return re.split(r"\s{2,}", row.removeprefix(name).strip())


def test_a_folder_without_faults(report, tmp_path):
    write_folder(tmp_path)
    code, lines, _ = report()
    assert code == 0
    assert cells(lines, "images ") == ["24", "4", "4"]
    assert cells(lines, "width, pixels: least, median, most") == ["12, 12, 12"] * 3
    assert cells(lines, "formats") == ["PNG 24", "PNG 4", "PNG 4"]
    assert cells(lines, "words of a caption: least, median, most") == ["5, 5, 5"] * 3
    assert lines[-1] == "nothing is left out, and no picture occurs twice"


def test_annotation_files_are_read_once(report, tmp_path, monkeypatch):
    """If nothing is left out, no line numbers are needed."""
    write_folder(tmp_path)
    categories = {"categories": [{"id": 1, "name": "thing"}], "annotations": []}
    for part in ("train2017", "val2017"):
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(categories))
    names, read_bytes = [], Path.read_bytes

    def counted(path: Path) -> bytes:
        names.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert report()[0] == 0
    assert sorted(name for name in names if "2017" in name) == sorted(
        f"{kind}_{part}.json" for kind in ("captions", "instances") for part in ("train2017", "val2017")
    )


def test_every_fault_is_listed_with_file_and_line(report, tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train2017"
    names = [f"{number:04}.png" for number in range(24)]
    texts = {name: [f"{name} caption {k}" for k in range(5)] for name in names}
    texts[names[3]] = texts[names[3]][:4]  # too few
    texts[names[5]][2] = "word " * 40  # truncated; the model reads three captions
    texts["/etc/hostname"] = ["outside"] * 5
    (images / names[7]).write_bytes(b"")
    (images / names[8]).unlink()
    shutil.copy(images / names[10], images / names[11])
    shutil.copy(images / names[12], tmp_path / "val2017" / "0001.png")
    file = write_captions(tmp_path, "train2017", texts)
    content = json.loads(file.read_text())
    content["images"].append({"id": 0, "file_name": "again.png"})
    file.write_text(json.dumps(content, indent=1))
    code, lines, _ = report()
    assert code == 1
    assert cells(lines, "images ") == ["21", "4", "4"]
    assert cells(lines, "captions truncated at backbone.context_length=16")[0].startswith("1 (1.6 %)")
    sentences = lines[lines.index("", 3) + 1 : lines.index("entries that are left out:") - 1]
    assert sentences == [
        "train2017: 3 images are left out because of their files: "
        "/etc/hostname lies outside the image folder (allowed with data.allow_outside=true), "
        "0007.png is empty, 0008.png cannot be opened (No such file or directory)",
        "train2017: 1 image is left out because it has fewer than data.captions=5 captions: 0003.png",
        "train2017: 1 image id has several entries; the first one is used: 0000.png",
        "train2017: 1 image is a copy of another one (same file content); copies are false negatives of each other: "
        "0010.png = 0011.png",
        "val2017: 1 image is also in train2017 (same file content), so that the figures of val and test are too "
        "high: 0001.png",
    ]
    entries = lines[lines.index("entries that are left out:") + 1 :]
    # Each image occupies four lines of the file. The first one begins in line 3.
    assert [line.removeprefix(f"{file}:").partition(",")[0] for line in entries] == [
        *("15: images[3]", "31: images[7]", "35: images[8]", "99: images[24]", "103: images[25]"),
    ]
    assert entries[-1] == f"{file}:103: images[25], again.png, has the id of an earlier entry"


def test_problems_of_all_files_are_listed(report, tmp_path):
    write_folder(tmp_path)
    for part, number in (("train2017", 1), ("val2017", 2)):
        file = tmp_path / "annotations" / f"captions_{part}.json"
        content = json.loads(file.read_text())
        del content["annotations"][number]["caption"]
        content["images"][3]["file_name"] = None
        file.write_text(json.dumps(content, indent=1))
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{")
    code, lines, _ = report()
    assert code == 1
    assert [Path(line.partition(": ")[0]).name for line in lines[:-2]] == [
        *("captions_train2017.json:15", "captions_train2017.json:106"),  # 24 images of 4 lines, then entries of 5 lines
        *("captions_val2017.json:15", "captions_val2017.json:47", "instances_val2017.json:1"),
    ]
    assert lines[-1] == "5 problems in the annotation files: a run with these settings would stop here"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("data.val_size=7", "data.val_size=7 is more than there are; allowed: up to "),
        ("data.root=nowhere", "data.root=nowhere is not a folder"),
        ("data.nothing=1", "data.nothing is not a known key"),
        ("data=nothing", "data=nothing is not known"),
        ("-m", "-m is not a setting; allowed: key=value"),
    ],
)
def test_a_mistake_is_two_lines_and_exit_code_2(report, tmp_path, argument, words):
    write_folder(tmp_path, val=7)
    code, _, error = report(argument)
    assert code == 2
    assert words in error
    assert len(error.splitlines()) <= 2


def test_a_source_that_draws_its_pictures(capsys):
    assert (
        main(["data=scenes", "data.train_size=40", "data.batch_size=8", "data.val_size=10", "data.test_size=10"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines, "images ") == ["40", "10", "10"]
    assert not [line for line in lines if line.startswith("formats")]
    assert cells(lines, "images with a class")[0] == "40 (100.0 %)"
    assert lines[-1].startswith("images with a class")


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "python -m model.data.check" in capsys.readouterr().out
