"""Captions with any characters: a tokeniser encodes them as text, and a run with them writes its report."""

from __future__ import annotations

import json
import re

import pytest
from matplotlib.figure import Figure
from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from model.data.text import beginning, clean
from model.data.tokenizer import count_truncated, encode, load_tokenizer, train_tokenizer
from model.report import page, pictures
from model.report.plots import missing_glyphs_ignored
from model.report.plots_retrieval import example_grid
from model.report.run_files import read_run
from model.run import run
from tests.data.coco_folder import write_captions, write_folder
from tests.data.odd_texts import ODD_TEXTS
from tests.report.html_page import Page
from tests.report.run_folder import write_run

LENGTH = 64


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Returns a tokeniser that is trained on the texts, and one like CLIP's: 256 bytes, at the end of a word and
    elsewhere, and two merges.
    """
    signs = list(bytes_to_unicode().values())
    words = [*signs, *(f"{sign}</w>" for sign in signs), "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("clip")
    CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[("c", "a"), ("ca", "t</w>")]
    ).save_pretrained(folder)
    return {
        "own": train_tokenizer([clean(text) for text in ODD_TEXTS.values()], 400),
        "CLIP": load_tokenizer(str(folder)),
    }


@pytest.fixture
def painted_captions(monkeypatch) -> list[list[str]]:
    """Returns the texts of each figure of a report that shows captions. Only such figures are drawn, because the others
    take long.
    """
    painted, paint = [], pictures.as_png

    def as_png(figure: Figure) -> bytes:
        if not any("Best pictures for a caption" in axes.get_title() for axes in figure.axes):
            return b"no picture"
        painted.append([text.get_text() for axes in figure.axes for text in axes.texts])
        return paint(figure)

    monkeypatch.setattr(pictures, "as_png", as_png)
    return painted


@pytest.mark.parametrize("name", ODD_TEXTS)
@pytest.mark.parametrize("kind", ["own", "CLIP"])
def test_the_end_token_is_at_the_end_only(tokenizers, kind, name):
    tokenizer, text = tokenizers[kind], clean(ODD_TEXTS[name])
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    (row,) = encode(tokenizer, [text], LENGTH).tolist()
    last = row.index(end)
    assert row[0] == begin
    assert {begin, end, pad, 2 if kind == "own" else end}.isdisjoint(
        row[1:last]
    )  # 2 is <|unused|> of the trained tokeniser
    assert row[last + 1 :] == [pad] * (LENGTH - 1 - last)
    assert count_truncated(tokenizer, [text], LENGTH) == (last == LENGTH - 1)
    if last < LENGTH - 1:
        assert letters(tokenizer.decode(row[1:last])) == letters(text)


def letters(text: str) -> str:
    """Returns the characters that both tokenisers preserve: CLIP's adds spaces, both use lower case and composed
    characters.
    """
    from unicodedata import normalize

    return re.sub(r"\s", "", normalize("NFC", normalize("NFC", text).lower()))


def test_a_tokeniser_can_be_trained_on_a_single_odd_text():
    for text in ODD_TEXTS.values():
        assert len(train_tokenizer([clean(text)], 300)) <= 300


def test_a_tokeniser_is_trained_on_the_beginning_of_a_very_long_text():
    beginning_only = train_tokenizer(["abc " * 500], 300)
    assert train_tokenizer(["abc " * 500 + "xyz " * 500], 300).get_vocab() == beginning_only.get_vocab()
    assert train_tokenizer(["abc " * 490 + "xyz " * 500], 300).get_vocab() != beginning_only.get_vocab()


def test_a_cleaned_text_can_be_encoded_and_cleaned_again():
    for text in ODD_TEXTS.values():
        once = clean(text)
        assert once.encode() is not None
        assert clean(once) == once
        assert re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]|  ", once) is None


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("abc", "abc"), ("abcd", "ab…"), ("笑" * 9, "笑笑…")])
def test_the_beginning_of_a_text(text, expected):
    assert beginning(text, 3) == expected


@pytest.mark.parametrize("caption", ["W" * 90, "笑" * 90, "i" * 90, "word " * 40])
def test_a_long_caption_ends_with_dots_inside_its_picture(tmp_path, caption):
    """This holds for every resolution, although the widths of letters differ a little between resolutions."""
    folder = write_run(tmp_path / "run")
    hits = [{"index": 0, "score": 0.5, "match": True, "picture": "0.png"}] * 5
    queries = [{"caption": caption, "index": 0, "hits": hits}]
    (folder / "examples" / "examples.json").write_text(
        json.dumps({"split": "val", "view": "caption 1", "queries": queries})
    )
    figure = example_grid(read_run(folder))
    (axes,) = figure.axes
    (text,) = axes.texts
    for resolution in (100, pictures.WIDE_RESOLUTION, pictures.RESOLUTION, 300):
        figure.set_dpi(resolution)
        with missing_glyphs_ignored():
            assert text.get_window_extent().x1 < axes.get_window_extent().x1
    assert text.get_text()[-1] == "…"
    assert caption.startswith(text.get_text()[:-1])
    assert len(text.get_text()) > 30


@pytest.mark.slow
def test_a_report_shows_captions_unchanged(tmp_path, painted_captions):
    folder = write_run(tmp_path / "run")
    hits = [{"index": 0, "score": 0.5, "match": True, "picture": "0.png"}]
    queries = [{"caption": text, "index": 0, "hits": hits} for text in ODD_TEXTS.values()]
    (folder / "examples" / "examples.json").write_text(
        json.dumps({"split": "val", "view": "caption 1", "queries": queries})
    )
    page.write_report(folder)
    shown = Page((folder / "report" / "index.html").read_text(encoding="utf-8")).texts("section", id="examples")[0]
    captions = [re.sub("[\ud800-\udfff]", "\ufffd", text[:499]) for text in ODD_TEXTS.values()]
    assert [caption for caption in captions if "".join(caption.split()) not in "".join(shown.split())] == []
    assert [caption[:30] for caption in painted_captions[0]] == [caption[:30] for caption in captions]


@pytest.mark.parametrize(
    ("longest", "overrides"),
    [(2_000, ("analysis=standard", "monitor=off")), pytest.param(50_000, ("analysis=full",), marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("painted_captions")
def test_a_run_with_odd_texts_writes_its_report(small, tmp_path, longest, overrides):
    """The odd texts are captions and names of categories."""
    texts = [text[:longest] for text in ODD_TEXTS.values() if clean(text)]
    write_folder(tmp_path / "data", train=12, val=14, captions=1, size=4)
    for part, count in (("train2017", 12), ("val2017", 14)):
        own = {f"{number:04}.png": [texts[(2 * number + k) % len(texts)] for k in range(3)] for number in range(count)}
        write_captions(tmp_path / "data", part, own)
        categories = [{"id": number, "name": text} for number, text in enumerate(texts)]
        objects = [{"id": number, "image_id": number, "category_id": number % 3, "area": 1} for number in range(count)]
        body = {"categories": categories, "annotations": objects}
        (tmp_path / "data" / "annotations" / f"instances_{part}.json").write_text(json.dumps(body))
    sizes = (
        "data.train_size=12",
        "data.val_size=12",
        "data.test_size=2",
        "data.batch_size=4",
        "data.captions=3",
        "trainer.max_epochs=1",
    )
    config = small("data=coco", f"data.root={tmp_path / 'data'}", *sizes, *overrides, "report=true", "evaluate=[val]")
    assert run(config, tmp_path / "run").status == "complete"
    shown = Page((tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")).texts("h3")
    queries = json.loads((tmp_path / "run" / "examples" / "examples.json").read_text())["queries"]
    captions = [query["caption"] for query in queries]
    assert len(captions) > 5
    assert set(captions) <= set(map(clean, texts))
    assert [caption for caption in captions if beginning(caption, 500) not in shown] == []
