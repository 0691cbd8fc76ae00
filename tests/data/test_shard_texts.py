"""The files of a sample: which belong to it, and the captions and labels that they hold."""

from __future__ import annotations

import json

import pytest

from model.data.shard_texts import TextRules
from model.errors import ConfigError
from tests.data.shard_files import RULES, picture, sample, samples, shards, texts, write_tar


@pytest.mark.parametrize(
    ("files", "rules", "expected"),
    [
        ({"txt": b" one\ncaption "}, RULES, ["one caption"]),
        ({"txt": b"one\ntwo\n"}, TextRules(RULES.caption_keys, True), ["one", "two"]),
        ({"json": b'{"caption": "one", "key": 3}'}, RULES, ["one"]),
        ({"json": b'{"caption": "two", "captions": ["one", ""]}'}, RULES, ["one", "two"]),
        ({"json": b'{"text": ["one", "two"]}'}, TextRules(("text",), False), ["one", "two"]),
        ({"json": b'{"caption": null}', "txt": b"one"}, RULES, ["one"]),
        ({"json": b'{"caption": "one"}', "txt": b"other"}, RULES, ["one"]),
        ({"TXT": "\ufeffein Sofa mit Kätzchen".encode()}, RULES, ["ein Sofa mit Kätzchen"]),
    ],
)
def test_captions(files, rules, expected, tmp_path):
    own = {f"x.{extension}": content for extension, content in files.items()}
    write_tar(tmp_path / "train.tar", {"x.jpg": picture(0), **own})
    content = json.dumps(dict.fromkeys(rules.caption_keys, "a")).encode()
    write_tar(tmp_path / "val.tar", held_out(content))
    source = shards(
        tmp_path / "train.tar", val=str(tmp_path / "val.tar"), rules=rules, captions=len(expected), repeats=True
    )
    assert texts(source, "train") == [expected]


def held_out(content: bytes) -> dict[str, bytes]:
    """Eight samples whose json has this content."""
    files: dict[str, bytes] = {}
    for number in range(50, 58):
        files |= {f"{number}.png": picture(number, "val"), f"{number}.json": content}
    return files


@pytest.mark.parametrize(("repeats", "expected"), [(False, [2]), (True, [0, 1, 2])])
def test_samples_with_few_captions(repeats, expected, tmp_path):
    files = {**sample(0, "a 0"), **sample(1, "a 1", "b 1"), **sample(2, "a 2", "b 2", "c 2"), **sample(3, " ")}
    write_tar(tmp_path / "train.tar", files)
    write_tar(tmp_path / "val.tar", samples(50, 58, "a", "b", "c"))
    source = shards(tmp_path / "train.tar", val=str(tmp_path / "val.tar"), captions=3, repeats=repeats)
    full = [["a 0", "a 0", "a 0"], ["a 1", "b 1", "a 1"], ["a 2", "b 2", "c 2"]]
    assert texts(source, "train") == [full[row] for row in expected]
    report = source.part_reports["train"]
    assert len(report.few_captions) == 4 - len(expected)
    assert report.empty_captions == ["train.tar/00003.png"]


@pytest.mark.parametrize(
    ("labels", "classes", "names", "expected"),
    [
        (("2", "10", "2", ""), None, ("2", "10"), [0, 1, 0, -1]),
        (("dog", "cat", "-1", "dog"), None, ("cat", "dog"), [1, 0, -1, 1]),
        (("1", "0", "-1", "1"), ["x", "y", "z"], ("x", "y", "z"), [1, 0, -1, 1]),
        (("y", "z", "", "x"), {"names": ["x", "y", "z"], "prompts": None}, ("x", "y", "z"), [1, 2, -1, 0]),
    ],
)
def test_labels(labels, classes, names, expected, tmp_path):
    files: dict[str, bytes] = {}
    for number, label in enumerate(labels):
        files |= sample(number, **({"cls": label.encode()} if label else {}))
    write_tar(tmp_path / "train.tar", files)
    write_tar(tmp_path / "val.tar", samples(50, 58))
    if classes is not None:
        (tmp_path / "classes.json").write_text(json.dumps(classes))
    source = shards(tmp_path / "train.tar", val=str(tmp_path / "val.tar"))
    assert source.class_names == names
    assert source.labels("train", range(4)).tolist() == expected
    assert source.labels("val", range(4)) is None


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["x"], "has the label 7"),
        ({"names": []}, "does not list classes"),
        ({"names": ["x"], "prompts": []}, "classes"),
    ],
)
def test_labels_that_classes_json_does_not_have_are_refused(classes, message, tmp_path):
    write_tar(tmp_path / "train.tar", samples(0, 12) | sample(13, cls=b"7"))
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    with pytest.raises(ConfigError, match=message):
        shards(tmp_path / "train.tar")


def test_files_belong_to_a_sample_by_their_name_up_to_the_first_dot(tmp_path):
    """Folders belong to the name, capital letters in extensions are allowed, and files about the shard are ignored."""
    files = {
        "__index__": b"{}",
        "__meta__/a.jpg": b"",
        "./a.b/c.JPG": picture(1),
        "./a.b/c.txt": b"first",
        "./a.b/d.left.jpg": picture(2),
        "./a.b/d.txt": b"no picture",
        "no_extension": b"",
        "e.txt": b"before its picture",
        "e.png": picture(3),
        "e.jpg": picture(4),
        "e.npy": b"",
        "._e.jpg": b"",
    }
    write_tar(tmp_path / "val" / "a.tar", samples(50, 58))
    source = shards(write_tar(tmp_path / "a.tar", files), val=str(tmp_path / "val"))
    assert texts(source, "train") == [["first"], ["before its picture"]]
    assert [file.name for file in source.picture_files("train", [0, 1])] == ["a.tar/./a.b/c.JPG", "a.tar/e.png"]
    assert list(source.part_reports["train"].unreadable) == ["a.tar/./a.b/d"]
