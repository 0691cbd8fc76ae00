"""Damaged tables: one message that names the file and the line of the first problem, and the number of the others."""

from __future__ import annotations

import json

import pytest

from model.data import check_source
from model.data.annotation_problems import DamagedAnnotations
from model.errors import ConfigError
from tests.data.table_folder import config, source_of, write_pictures

HEAD = b"file_name,text\n"
GOOD = b"0000.png,one\n0001.png,two\n0002.png,three\n0003.png,four\n0004.png,five\n0005.png,six\n"
LINE = b'{"file_name": "0000.png", "text": "one"}\n'


def message_of(tmp_path, name: str, content: bytes, **options) -> str:
    """The message of the error for a table with this content."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        source_of(tmp_path / name, **options)
    message = str(error.value)
    assert len(message.splitlines()) <= 2
    return message.replace(f"{tmp_path}/", "")


SEPARATED = {
    "no content": (b"", "t.csv:1: has no header"),
    "an empty first line": (b"\n" + GOOD, "t.csv:1: has no header"),
    "no rows": (HEAD, "t.csv: has no rows"),
    "no column of pictures": (b"path,text\n" + GOOD, "data.image_column=file_name is no column of t.csv:1"),
    "no column of captions": (b"file_name,a b\n" + GOOD, "data.caption_columns=text is no column of t.csv:1"),
    "a column twice": (b"file_name,text,text\n" + GOOD, "t.csv:1: names the column 'text' twice"),
    "too many fields": (HEAD + GOOD + b"a.png,one,two\n", "t.csv:8: has 3 fields; allowed: 2, as in the first line"),
    "too few fields": (HEAD + b"a.png\n" + GOOD, "t.csv:2: has 1 field; allowed: 2"),
    "a path that is empty": (HEAD + GOOD + b",one\n", "t.csv:8: column file_name is empty; allowed: a text"),
    "a path of white space": (HEAD + GOOD + b"  ,one\n", "t.csv:8: column file_name is empty"),
    "an address": (HEAD + b"https://a.b/c.png,one\n", "t.csv:2: column file_name is the address https://a.b/c.png"),
    "bytes of another encoding": (HEAD + GOOD + b"a.png,caf\xe9\n", "t.csv:8: byte 106 (0xe9) is not valid UTF-8"),
    "NUL": (HEAD + b"a.png,o\0ne\n", "t.csv:2: holds a NUL byte"),
    "UTF-16 without a mark": ("file_name,text\na,b\n".encode("utf-16-le"), "t.csv:1: holds a NUL byte"),
    "a quote that nothing closes": (HEAD + GOOD + b'a.png,"one\nb.png,two\n', "t.csv:8: begins a field with a double"),
    "text behind a quote": (HEAD + b'a.png,"one" two\n', "t.csv:2: cannot be read ("),
    "a record of three lines before": (HEAD + b'a.png,"one\n\nend"\n,two\n', "t.csv:5: column file_name is empty"),
    "a list of Python": (HEAD + b"a.png,\"['one', 'two']\"\n", "t.csv:2: column text is a list as Python prints"),
    "a list of NumPy": (HEAD + b"a.png,\"['one' 'two']\"\n", "t.csv:2: column text is a list as Python prints it"),
    "a list of numbers": (HEAD + b'a.png,"[1, 2]"\n', "t.csv:2: column text lists 1; allowed: captions"),
}  # fmt: skip
JSON = {
    "no content": (b"\n\n", "t.jsonl: has no rows"),
    "a line that is no JSON": (LINE + b"{'file_name': 1}\n", "t.jsonl:2: is not JSON: Expecting property name"),
    "half a line": (LINE + b'{"file_name": "a', "t.jsonl:2: is not JSON: Unterminated string"),
    "a list": (LINE + b"\n[1]\n", "t.jsonl:3: holds a list; allowed: an object per line"),
    "a number": (b"1\n", "t.jsonl:1: holds 1; allowed: an object per line"),
    "nothing": (LINE + b"null\n", "t.jsonl:2: holds null; allowed"),
    "no path": (LINE + b'{"text": "two"}\n', "t.jsonl:2: column file_name is empty"),
    "a path that is no text": (LINE + b'{"file_name": 7, "text": "two"}\n', "t.jsonl:2: column file_name is 7"),
    "a path with NUL": (b'{"file_name": "a\\u0000", "text": "b"}\n', "t.jsonl:1: column file_name holds a NUL"),
    "a caption that is no text": (LINE + b'{"file_name": "a", "text": true}\n', "t.jsonl:2: column text is true"),
    "an object as a caption": (b'{"file_name": "a", "text": {"a": 1}}\n', "t.jsonl:1: column text is an object"),
    "a list with an object": (b'{"file_name": "a", "text": ["a", {}]}\n', "t.jsonl:1: column text lists an object"),
    "a list with nothing": (b'{"file_name": "a", "text": ["a", null]}\n', "t.jsonl:1: column text lists null"),
    "no line has the column": (b'{"file_name": "a", "caption": "b"}\n', "data.caption_columns=text is no column"),
    "deep lists": (b"[" * 100_000 + b"\n", "t.jsonl:1: has a number that is too long, or is nested too deeply"),
    "a number of many digits": (b'{"file_name": 1' + b"0" * 5000 + b"}\n", "t.jsonl:1: has a number that is too long"),
    "bytes of another encoding": (LINE + LINE + b'{"text": "\xff"}\n', "t.jsonl:3: byte 92 (0xff) is not valid UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("problem", SEPARATED)
def test_a_damaged_csv_file(tmp_path, problem):
    content, start = SEPARATED[problem]
    assert message_of(tmp_path, "t.csv", content).startswith(start)


@pytest.mark.parametrize("problem", JSON)
def test_a_damaged_json_lines_file(tmp_path, problem):
    content, start = JSON[problem]
    message = message_of(tmp_path, "t.jsonl", content)
    assert message.startswith(start)
    assert "; allowed: " in message


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_lines_of_other_systems_are_counted(tmp_path, end):
    content = (HEAD + GOOD + b",one\n").replace(b"\n", end)
    assert message_of(tmp_path, "t.csv", content).startswith("t.csv:8: ")


def test_a_tsv_file(tmp_path):
    content = (HEAD + GOOD + b"a.png,one,two\n").replace(b",", b"\t")
    assert message_of(tmp_path, "t.tsv", content).startswith("t.tsv:8: has 3 fields; allowed: 2")


ROWS = {
    "an unknown split": ({"split": "restval"}, 'column split is "restval"; allowed: train, training, val,'),
    "no split": ({"split": ""}, 'column split is ""; allowed: train'),
    "an empty language": ({"language": " "}, "column language is empty; allowed: a text"),
    "an empty id": ({"id": ""}, "column id is empty; allowed: a text"),
    "a label that is no name": ({"label": True}, "column label is true; allowed: a text, a whole number, or nothing"),
    "a label with decimals": ({"label": 0.5}, "column label is 0.5; allowed: a text, a whole number, or nothing"),
    "another split of the picture": ({"id": "0", "split": "test"}, "the split is test, but train in row 1 of the same"),
    "another label of the picture": ({"id": "0", "label": "dog"}, "the label is dog, but cat in row 1 of the same"),
    "another picture of the id": ({"id": "0", "file_name": "b"}, "the picture is b, but 0000.png in row 1 of the same"),
}


@pytest.mark.parametrize("problem", ROWS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_values_that_a_row_cannot_have(tmp_path, problem, kind):
    """Row 3 has the problem. A column of a Parquet file has one type."""
    change, start = ROWS[problem]
    row = {"file_name": "0000.png", "text": "a", "split": "train", "label": "cat", "language": "en"}
    rows = [row | {"id": str(number), "text": f"caption {number}"} for number in range(3)]
    rows = [row | {"file_name": f"000{number}.png"} for number, row in enumerate(rows)]
    if change.get("id"):
        rows[2] |= {"file_name": "0000.png"}
    rows[2] |= change
    columns = {f"{name}_column": name for name in ("split", "label", "language", "id")}
    if kind == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        assert message_of(tmp_path, "t.jsonl", content, **columns).startswith(f"t.jsonl:3: {start}")
    elif isinstance(change.get("label", ""), str):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
        content = (tmp_path / "t.parquet").read_bytes()
        assert message_of(tmp_path, "t.parquet", content, **columns).startswith(f"t.parquet: row 3: {start}")


def test_many_problems_are_counted_and_listed(tmp_path):
    (tmp_path / "t.csv").write_bytes(HEAD + b",one\n" * 3 + GOOD + b"a,b,c\n")
    with pytest.raises(DamagedAnnotations) as error:
        source_of(tmp_path / "t.csv")
    assert [problem.line for problem in error.value.problems] == [2, 3, 4, 11]
    assert str(error.value).splitlines()[1].startswith("3 more such entries; python -m model.data.check ")
    (tmp_path / "t.csv").write_bytes(HEAD + b",one\n" * 300)
    with pytest.raises(DamagedAnnotations, match=r"at least 99 more such entries"):
        source_of(tmp_path / "t.csv")


@pytest.mark.parametrize("content", [b"", b"PAR1 no Parquet PAR1", "half"])
def test_a_damaged_parquet_file(tmp_path, content):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    if content == "half":
        table = pyarrow.table({"file_name": [f"{i}" for i in range(5000)], "text": [f"text {i}" for i in range(5000)]})
        parquet.write_table(table, tmp_path / "t.parquet")
        content = bytearray((tmp_path / "t.parquet").read_bytes())
        content[100:20_000] = b"\xff" * 19_900
    message = message_of(tmp_path, "t.parquet", bytes(content))
    assert message.startswith(("t.parquet: cannot be read (", "t.parquet: cannot be read after row 0 ("))
    assert message.splitlines()[0].endswith(("allowed: a Parquet file", "allowed: a whole Parquet file"))


def test_a_parquet_file_with_the_bytes_of_pictures(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"file_name": {"bytes": b"\x89PNG", "path": "a.png"}, "text": "a"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    message = message_of(tmp_path, "t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert message == "t.parquet: row 1: column file_name is an object; allowed: a text"


@pytest.mark.parametrize(
    ("root", "options", "words"),
    [
        (None, {}, ("data.root=null names no table", "metadata.csv")),
        ("nowhere", {}, ("data.root=nowhere is neither a file nor a folder", ".parquet")),
        ("empty", {}, ("empty has no metadata file", "metadata.jsonl")),
        ("two", {}, ("two has metadata.csv and metadata.jsonl", "one of them")),
        ("t.txt", {}, ("t.txt is no table that can be read", ".csv, .tsv, .jsonl")),
        ("t.csv", {"images": "nowhere"}, ("data.images=nowhere is not a folder",)),
        ("t.csv", {"caption_columns": []}, ("data.caption_columns=[] names no column",)),
        ("t.csv", {"caption_columns": ["a", "a"]}, ("data.caption_columns=[a,a] names a column twice",)),
        ("t.csv", {"few_captions": "drop"}, ("data.few_captions=drop is not known", "leave_out, repeat")),
        ("t.csv", {"captions": 0}, ("data.captions=0 is too small",)),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(tmp_path, monkeypatch, root, options, words):
    monkeypatch.chdir(tmp_path)
    for name in ("t.txt", "t.csv", "two/metadata.csv", "two/metadata.jsonl", "empty/other.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff")
    with pytest.raises(ConfigError) as error:
        check_source(config(root, **options))
    assert [word for word in (*words, "; allowed: ") if word not in str(error.value)] == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setattr("model.data.table_files.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install nway-clip\[parquet\]"):
        check_source(config(tmp_path / "t.parquet"))


def test_pictures_that_cannot_be_read_are_refused_only_if_all_are(tmp_path):
    (tmp_path / "t.csv").write_bytes(HEAD + GOOD)
    with pytest.raises(ConfigError, match=r"no image can be read \(0000\.png cannot be opened \(No such file"):
        source_of(tmp_path / "t.csv")
    write_pictures(tmp_path, *range(5))
    assert source_of(tmp_path / "t.csv", val_size=1).size("train") == 2
    with pytest.raises(ConfigError, match=r"left out of 6: 1 whose file cannot be used"):
        source_of(tmp_path / "t.csv", val_size=4)
