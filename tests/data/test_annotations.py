"""Faulty annotation files: the error names the file, the line, the entry and what is allowed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from model.command import command_line
from model.data.coco import Coco
from model.data.coco_files import coco_parts
from model.data.source import SplitSizes
from model.errors import ConfigError
from tests.conftest import SMALL
from tests.data.coco_folder import write_folder
from tests.forked import ended, start

# Lines are counted from 1. "images" and "annotations" also occur where they are no lists of the file.
CAPTIONS = """{
 "info": {"images": [1], "annotations": "]}"},
 "images": [
  {"id": 1, "file_name": "0000.png"},
  {"id": 2, "file_name": "0001.png"}
 ],
 "annotations": [
  {"id": 10, "image_id": 1, "caption": "one"},
  {"id": 20, "image_id": 2, "annotations": [],
   "caption": "two"}
 ]
}
"""
INSTANCES = """{
 "categories": [
  {"id": 7, "name": "animal"},
  {"id": 8, "name": "thing"}
 ],
 "annotations": [
  {"id": 1, "image_id": 1, "category_id": 7, "area": 2.5},
  {"id": 2, "image_id": 2, "category_id": 8, "area": 3}
 ]
}
"""
IDENTIFIER, NAME, JSON = "a whole number or a text", "a text that is not empty", "allowed: JSON in COCO's format"
IMAGE = f'allowed: {{"id": {IDENTIFIER}, "file_name": {NAME}}}'
CAPTION = f'allowed: {{"id": {IDENTIFIER}, "image_id": {IDENTIFIER}, "caption": a text}}'
CATEGORY = f'allowed: {{"id": {IDENTIFIER}, "name": {NAME}}}'
OBJECT = f'allowed: {{"id": {IDENTIFIER}, "image_id": {IDENTIFIER}, "category_id": {IDENTIFIER}, "area": a number}}'
OTHER = "but an earlier category with this id has another name; allowed: one name for each id"
LISTS = 'allowed: {"images": [...], "annotations": [...]}'

# The text in CAPTIONS that is replaced, its replacement, the line of the entry, and the message.
BROKEN_CAPTIONS = [
    ('"id": 2, "file', '"file', 5, f'images[1] has no "id"; {IMAGE}'),
    (', "file_name": "0001.png"', "", 5, f'images[1] has no "file_name"; {IMAGE}'),
    ('{"id": 2, "file_name": "0001.png"}', "null", 5, f"images[1] is null; {IMAGE}"),
    ('{"id": 2, "file_name": "0001.png"}', "[[]]", 5, f"images[1] is a list; {IMAGE}"),
    ('{"id": 2, "file_name": "0001.png"}', '"0001.png"', 5, f'images[1] is "0001.png"; {IMAGE}'),
    ('"0001.png"', "null", 5, f'images[1] has "file_name": null; allowed: {NAME}'),
    ('"0001.png"', '""', 5, f'images[1] has "file_name": ""; allowed: {NAME}'),
    ('"0001.png"', '{"name": "x"}', 5, f'images[1] has "file_name": an object; allowed: {NAME}'),
    ('"id": 2,', '"id": true,', 5, f'images[1] has "id": true; allowed: {IDENTIFIER}'),
    ('"id": 2,', '"id": 2.0,', 5, f'images[1] has "id": 2.0; allowed: {IDENTIFIER}'),
    ('"id": 2,', '"id": NaN,', 5, f'images[1] has "id": NaN; allowed: {IDENTIFIER}'),
    ('"id": 2,', '"id": -Infinity,', 5, f'images[1] has "id": -Infinity; allowed: {IDENTIFIER}'),
    ('"id": 2,', '"id": 2, "id": null,', 5, f'images[1] has "id": null; allowed: {IDENTIFIER}'),
    # the last of two equal keys is used
    ('"id": 2,', '"id": "2",', 5, 'images[1] has "id": "2", but the ids before it are numbers; allowed: one kind'),
    ('"image_id": 2', '"image_id": "2"', 9, 'annotations[1] has "image_id": "2", but the ids before it are numbers; '
                                            'allowed: one kind'),
    ('"id": 20', '"id": "20"', 9, 'annotations[1] has "id": "20", but the ids before it are numbers; allowed: one '
                                  'kind'),
    ('"id": 20, ', "", 9, f'annotations[1] has no "id"; {CAPTION}'),
    ('"image_id": 2, ', "", 9, f'annotations[1] has no "image_id"; {CAPTION}'),
    (',\n   "caption": "two"', "", 9, f'annotations[1] has no "caption"; {CAPTION}'),
    ('"two"', "null", 9, 'annotations[1] has "caption": null; allowed: a text'),
    ('"two"', '["two"]', 9, 'annotations[1] has "caption": a list; allowed: a text'),
    ('"two"', "2", 9, 'annotations[1] has "caption": 2; allowed: a text'),
    ('"two"', "1e999", 9, 'annotations[1] has "caption": Infinity; allowed: a text'),
]  # fmt: skip
BROKEN_INSTANCES = [
    ('"category_id": 8, ', "", 8, f'annotations[1] has no "category_id"; {OBJECT}'),
    (', "area": 3', "", 8, f'annotations[1] has no "area"; {OBJECT}'),
    ('"area": 3', '"area": NaN', 8, 'annotations[1] has "area": NaN; allowed: a number'),
    ('"area": 3', '"area": Infinity', 8, 'annotations[1] has "area": Infinity; allowed: a number'),
    ('"area": 3', '"area": "3"', 8, 'annotations[1] has "area": "3"; allowed: a number'),
    ('"area": 3', '"area": true', 8, 'annotations[1] has "area": true; allowed: a number'),
    ('"category_id": 8', '"category_id": 9', 8, 'annotations[1] has "category_id": 9; allowed: the id of one of the '
                                                'categories'),
    ('"category_id": 8', '"category_id": "8"', 8, 'annotations[1] has "category_id": "8", but the ids before it are '
                                                  'numbers; allowed: one kind'),
    ('"image_id": 2', '"image_id": "2"', 8, 'annotations[1] has "image_id": "2", but the ids in the captions file '
                                            'are numbers; allowed: one kind'),
    ('"id": 2', '"id": "2"', 8, 'annotations[1] has "id": "2", but the ids before it are numbers; allowed: one kind'),
    (', "name": "thing"', "", 4, f'categories[1] has no "name"; {CATEGORY}'),
    ('"thing"', '" "', 4, f'categories[1] has "name": " "; allowed: {NAME}'),
    ('"thing"', r'"\u0000"', 4, rf'categories[1] has "name": "\u0000"; allowed: {NAME}'),
    ('"thing"', "null", 4, f'categories[1] has "name": null; allowed: {NAME}'),
    ('"id": 8', '"id": 7', 4, f'categories[1] has "id": 7 and "name": "thing", {OTHER}'),
]  # fmt: skip
INSIDE = len(CAPTIONS.partition("two")[0]) + 1  # the position of the "w"
# Content of a file, and the message after the name of the file.
BROKEN_FILES = [
    (b"", ":1: the file is empty; " + JSON),
    (b" \n \n", ":3: the file is empty; " + JSON),
    (b"\xef\xbb\xbf", ":1: the file is empty; " + JSON),
    (CAPTIONS.partition(' "image_id": 2')[0].encode(), ":9: the file ends too early; " + JSON),
    (CAPTIONS.partition("two")[0].encode(), f":10: Unterminated string starting at (column 15); {JSON}"),
    (CAPTIONS.replace('"images": [\n', '"images" [\n').encode(), f":3: Expecting ':' delimiter (column 11); {JSON}"),
    (b"[]", ": holds a list; " + LISTS),
    (b"null", ": holds null; " + LISTS),
    (b"17", ": holds 17; " + LISTS),
    (b'"\\ud83d"', rf': holds "\ud83d"; {LISTS}'),
    (b'{"annotations": []}', f': has no "images"; {LISTS}'),
    (b'{"images": []}', f': has no "annotations"; {LISTS}'),
    (b'{"images": [], "annotations": {}}', f': has "annotations": an object; {LISTS}'),
    (b'{"images": [], "images": 5, "annotations": []}', f': has "images": 5; {LISTS}'),
    (
        b'{"images": [1, 2],\n "annotations": [],\n "images": [{"id": 1, "file_name": "a"},\n 5]}',
        f":4: images[1] is 5; {IMAGE}",
    ),
    (b"[" * 100_000, ": lists or objects are nested too deeply; " + JSON),
    (
        b'{"images":\n [{"id": ' + b"9" * 5_000 + b"}]}",
        f":2: a number has more than {sys.get_int_max_str_digits():,} digits; {JSON}",
    ),
    (
        CAPTIONS.encode().replace(b"two", b"t\xffo"),
        f":10: byte {INSIDE} (0xff) is not valid UTF-8; allowed: JSON in UTF-8",
    ),
    (
        b"\xef\xbb\xbf" + CAPTIONS.encode().replace(b"two", b"t\xffo"),
        f":10: byte {INSIDE + 3} (0xff) is not valid UTF-8; allowed: JSON in UTF-8",
    ),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", ":1: byte 0 (0xff) is not valid UTF-8; allowed: JSON in UTF-8"),
]


def make(folder: Path, **options: object) -> Coco:
    """Returns the source of the folder, with one caption for each image."""
    defaults = {"captions": 1, "image_size": 8}
    return Coco(coco_parts(str(folder), "2017"), SplitSizes(None, 1, 1), **(defaults | options))


def refusal(folder: Path, content: bytes, kind: str = "captions") -> str:
    """Returns the error for a folder with this file, without the name of the file."""
    write_folder(folder, train=2, val=2, captions=1, size=4)
    (folder / "annotations" / "captions_train2017.json").write_text(CAPTIONS)
    file = folder / "annotations" / f"{kind}_train2017.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        make(folder)
    message = str(error.value)
    assert message.startswith(str(file))
    assert message.isprintable()  # therefore it is one line
    return message.removeprefix(str(file))


@pytest.mark.parametrize(
    ("kind", "content", "old", "new", "line", "expected"),
    [("captions", CAPTIONS, *case) for case in BROKEN_CAPTIONS]
    + [("instances", INSTANCES, *case) for case in BROKEN_INSTANCES],
)
def test_an_entry_is_named_with_its_line(tmp_path, kind, content, old, new, line, expected):
    assert content.count(old) == 1
    text = content.replace(old, new)
    assert refusal(tmp_path / "lines", text.encode(), kind) == f":{line}: {expected}"
    assert refusal(tmp_path / "one_line", text.replace("\n", " ").encode(), kind) == f":1: {expected}"


@pytest.mark.parametrize(("content", "expected"), BROKEN_FILES)
def test_a_file_that_is_no_annotation_file_is_named(tmp_path, content, expected):
    assert refusal(tmp_path / "folder", content) == expected


def test_the_other_broken_entries_are_counted(tmp_path):
    write_folder(tmp_path, train=2, val=2, captions=1, size=4)
    file = tmp_path / "annotations" / "captions_train2017.json"
    body = json.loads(file.read_text())
    body["images"] += [{"id": 5 + number} for number in range(3)]
    file.write_text(json.dumps(body))
    with pytest.raises(ConfigError) as error:
        make(tmp_path)
    first, second = str(error.value).splitlines()
    assert first == f'{file}:1: images[2] has no "file_name"; {IMAGE}'
    assert second == "2 more such entries; python -m model.data.check with the same data settings lists them"
    file.write_text(json.dumps({"images": [{}] * 500, "annotations": []}))
    with pytest.raises(ConfigError, match="\nat least 99 more such entries; "):
        make(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_other_encodings_of_json_are_read(tmp_path, encoding):
    write_folder(tmp_path, train=2, val=2, captions=1, size=4)
    (tmp_path / "annotations" / "captions_train2017.json").write_bytes(
        CAPTIONS.replace("two", "zwölf 🐙").encode(encoding)
    )
    assert make(tmp_path).texts("train", range(2)) == [["one"], ["zwölf 🐙"]]


def test_a_run_ends_with_code_2_and_the_message(tmp_path):
    write_folder(tmp_path / "data", train=8, val=2, captions=3, size=4)
    file = tmp_path / "data" / "annotations" / "captions_train2017.json"
    file.write_text(CAPTIONS.replace('"two"', "null"))

    def task() -> None:
        sys.argv = [
            "train.py",
            *SMALL,
            "data=coco",
            f"data.root={tmp_path / 'data'}",
            "data.captions=3",
            f"hydra.run.dir={tmp_path / 'run'}",
        ]
        sys.exit(command_line())

    output = tmp_path / "output"
    assert ended(start(task, output)) == 2
    assert f'{file}:9: annotations[1] has "caption": null; allowed: a text' in output.read_text()
    assert "Traceback" not in output.read_text()
