"""Which rows a table has: paths, captions, labels and languages of every kind that users have."""

from __future__ import annotations

import codecs
import logging
import unicodedata

import pytest
import torch

from model.data.check import main
from model.errors import ConfigError
from tests.data.table_folder import captions_of, config, simple_rows, source_of, write_pictures, write_table

SMALL = {"val_size": 2, "test_size": 2}


def texts_of(file, **options) -> dict[str, list[str]]:
    """First caption of each row -> all captions."""
    source = source_of(file, **options)
    return {own[0]: own for split in ("train", "val", "test") for own in captions_of(source, split)}


def table_of(tmp_path, *texts, name: str = "t.jsonl", **further):
    """A table with a picture for each of `texts`, and six more pictures with captions that need no attention."""
    write_pictures(tmp_path, *range(len(texts) + 6))
    rows = [{"file_name": f"{number:04}.png", "text": text} for number, text in enumerate(texts)]
    usual = [f"usual {number} {k}" for number in range(6) for k in range(4)]
    rows += [
        {"file_name": f"{len(texts) + n:04}.png", "text": usual[4 * n : 4 * n + 4] if further else usual[4 * n]}
        for n in range(6)
    ]
    return write_table(tmp_path / name, rows)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_line_ends_and_quotes(tmp_path, mark, end):
    write_pictures(tmp_path, *range(7))
    lines = [
        "file_name,text",
        '0000.png,"a ""cat"",',
        'on a\u2028sofa"',
        *(f"000{n}.png,ü {n}" for n in range(1, 7)),
        "",
        "",
    ]
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(mark, "utf-8")
    (tmp_path / "t.csv").write_bytes(mark + end.join(lines).encode(encoding))
    assert set(texts_of(tmp_path / "t.csv")) == {'a "cat", on a sofa', *(f"ü {n}" for n in range(1, 7))}


@pytest.mark.parametrize(
    "name", ["with space.png", "100%25 %s.png", "#&?.png", "a'b\"c,d.png", "日本.png", "tab\t.png"]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_names_of_every_kind(tmp_path, name, kind):
    write_pictures(tmp_path, *range(6))
    (tmp_path / "0000.png").rename(tmp_path / name)
    file = write_table(tmp_path / f"t.{kind}", [{"file_name": name, "text": "odd"}, *simple_rows(*range(1, 6))])
    assert "odd" in texts_of(file, val_size=1, test_size=1)


@pytest.mark.parametrize(("form", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_accent_may_be_written_in_two_ways(tmp_path, form, other):
    write_pictures(tmp_path, *range(6))
    (tmp_path / "0000.png").rename(tmp_path / unicodedata.normalize(form, "é.png"))
    rows = [{"file_name": unicodedata.normalize(other, "é.png"), "text": "accent"}, *simple_rows(*range(1, 6))]
    source = source_of(write_table(tmp_path / "t.csv", rows), val_size=1, test_size=1)
    assert source.part_reports["t.csv"].left_out() == 0
    assert all(source.images(split, range(source.size(split))).shape[0] for split in ("train", "val", "test"))


def test_paths_start_in_the_folder_of_the_table_or_of_the_configuration_or_are_absolute(tmp_path):
    folder = write_pictures(tmp_path / "pictures", *range(6))
    absolute = [row | {"file_name": str(folder / row["file_name"])} for row in simple_rows(*range(6))]
    one = write_table(folder / "metadata.csv", simple_rows(*range(6)))
    two = write_table(tmp_path / "t.csv", absolute)
    three = write_table(tmp_path / "u.csv", simple_rows(*range(6)))
    expected = texts_of(one)
    assert texts_of(folder) == texts_of(two) == texts_of(three, images=str(folder)) == expected
    assert len(expected) == 6


def test_lists_and_texts_that_look_like_lists(tmp_path):
    texts = texts_of(table_of(tmp_path, ["b", "c"], '["d", "e"]', "[laughs] a [sofa]", "[music]", " f \n g"), **SMALL)
    assert {"b", "d", "[laughs] a [sofa]", "[music]", "f g"} <= set(texts)


def test_pictures_with_few_captions_are_left_out_and_named(tmp_path, caplog):
    file = table_of(tmp_path, ["a", "b"], ["c", " ", "d", "e"], [], ["f", "g", "h"], lists=True)
    with caplog.at_level(logging.WARNING, "model.data"):
        texts = texts_of(file, captions=3, **SMALL)
    assert texts["c"] == ["c", "d", "e"]
    assert texts["f"] == ["f", "g", "h"]
    assert len(texts) == 8
    assert [record.getMessage() for record in caplog.records] == [
        "t.jsonl: 2 images are left out because they have fewer than data.captions=3 captions: 0000.png, 0002.png",
        "t.jsonl: 1 caption is left out because it has no word: line 2",
    ]


def test_captions_are_repeated_if_the_configuration_says_so(tmp_path, caplog):
    file = table_of(tmp_path, ["a", "b"], ["c"], [], lists=True)
    with caplog.at_level(logging.WARNING, "model.data"):
        texts = texts_of(file, captions=5, few_captions="repeat", **SMALL)
    assert (texts["a"], texts["c"]) == (["a", "b", "a", "b", "a"], ["c"] * 5)
    assert [record.getMessage() for record in caplog.records] == [
        "t.jsonl: 1 image is left out because it has no caption: 0002.png"
    ]


def test_more_captions_than_any_picture_has_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.captions=5 .* allowed: 1 to 4, or data\.few_captions=repeat"):
        source_of(table_of(tmp_path, lists=True), captions=5)


def test_any_number_of_captions(tmp_path):
    write_pictures(tmp_path, *range(6))
    rows = [{"file_name": f"000{n}.png", "text": [f"{n} {k}" for k in range(40)]} for n in range(6)]
    assert len(texts_of(write_table(tmp_path / "t.csv", rows), captions=40, **SMALL)["3 0"]) == 40


def test_rows_that_add_nothing_are_counted(tmp_path, caplog):
    write_pictures(tmp_path, *range(7))
    rows = [*simple_rows(*range(7)), *simple_rows(3), {"file_name": "./0004.png", "text": "another"}]
    with caplog.at_level(logging.WARNING, "model.data"):
        texts = texts_of(write_table(tmp_path / "t.csv", rows), captions=2, few_captions="repeat", **SMALL)
    assert texts["picture 4"] == ["picture 4", "another"]
    assert [record.getMessage() for record in caplog.records] == [
        "t.csv: 1 row adds no caption to the picture of an earlier row: line 9"
    ]


def test_equal_captions_of_two_languages_are_two_captions_and_missing_languages_are_named(tmp_path, caplog):
    write_pictures(tmp_path, *range(6))
    rows = [row | {"lang": lang} for row in simple_rows(*range(6)) for lang in ("fr", "de")]
    rows[1] |= {"lang": "en"}
    with caplog.at_level(logging.WARNING, "model.data"):
        texts = texts_of(write_table(tmp_path / "t.csv", rows), captions=2, language_column="lang", **SMALL)
    assert texts["picture 3"] == ["picture 3", "picture 3"]
    assert [record.getMessage() for record in caplog.records] == [
        "t.csv: the captions of most images have the languages de, fr; 1 image has others"
    ]


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["dog", "cat", "", "dog", "cat ", "owl"], ("cat", "dog", "owl"), [1, 0, -1, 1, 0, 2]),
        (["10", "9", "9", "", "2", "10"], ("2", "9", "10"), [2, 1, 1, -1, 0, 2]),
        ([10, 9.0, 9, None, 2, float("nan")], ("2", "9", "10"), [2, 1, 1, -1, 0, -1]),
    ],
)
def test_labels(tmp_path, labels, names, numbers):
    write_pictures(tmp_path, *range(6))
    parts = ["train"] * 4 + ["val", "test"]
    rows = [
        row | {"label": label, "part": part}
        for row, label, part in zip(simple_rows(*range(6)), labels, parts, strict=True)
    ]
    file = write_table(tmp_path / "t.jsonl", rows)
    source = source_of(file, label_column="label", split_column="part", val_size=1, test_size=1)
    assert source.class_names == names
    found = [source.labels(split, range(source.size(split))) for split in ("train", "val", "test")]
    assert torch.cat(found).tolist() == numbers
    assert found[0].dtype == torch.int64
    assert source_of(file, split_column="part", val_size=1, test_size=1).labels("train", [0]) is None


def test_a_changed_table_cannot_continue_a_run(tmp_path):
    file = table_of(tmp_path, "a", "b")
    record = source_of(file, **SMALL).record
    assert source_of(file, record, **SMALL).record == record
    for damaged in (
        record | {"rows": {}},
        record | {"rows": {"train": "0-99", "val": "1", "test": "2"}},
        {"left_out": {}},
    ):
        with pytest.raises(ConfigError, match=r"other rows than at the start of the run"):
            source_of(file, damaged, **SMALL)
    file.write_text(file.read_text().replace('"a"', '"another"'))
    with pytest.raises(ConfigError, match=r"other rows than at the start of the run; allowed: the table"):
        source_of(file, record, **SMALL)


def test_the_rows_of_a_record_stay_when_pictures_change(tmp_path):
    file = table_of(tmp_path, "a", "b", "c")
    (tmp_path / "0002.png").write_bytes(b"")
    before = source_of(file, **SMALL)
    write_pictures(tmp_path, 2)
    (tmp_path / "0001.png").unlink()
    after = source_of(file, before.record, **SMALL)
    for split in ("train", "val", "test"):
        assert captions_of(after, split) == captions_of(before, split)
    assert before.record["left_out"] == {"t.jsonl": {"0002.png": "is empty"}}


def test_the_check_names_lines(tmp_path, capsys):
    file = table_of(tmp_path, "a", "", "c", "d", name="t.csv")
    (tmp_path / "0002.png").write_bytes(b"")
    file.write_text(file.read_text() + "0003.png,d\r\n")
    sizes = ["data.val_size=2", "data.test_size=2", "data.batch_size=2", "data.vocab_size=300"]
    assert main(["data=table", f"data.root={file}", "model=clip", *sizes]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("entries that are left out:") + 1 :] == [
        f"{file}:3: 0001.png has fewer than data.captions=1 captions",
        f"{file}:4: 0002.png is empty",
        f"{file}:12: adds no caption to the picture of an earlier row",
    ]
    assert config(file).captions == 1
