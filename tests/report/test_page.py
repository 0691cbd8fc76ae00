"""report/index.html of a run with every file: what it shows, and that it is one file in which everything is escaped."""

from __future__ import annotations

import base64
import shutil

import pytest

from model.report.page import write_report
from tests.report.html_page import SECTIONS, Page


@pytest.fixture(scope="module")
def text(folder) -> str:
    """The HTML of the page."""
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    """The elements of the page."""
    return Page(text)


def test_the_heading_says_what_the_run_was(page):
    (heading,) = page.texts("h1")
    assert heading == "normsv5 · v534dim · scenes complete"
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=False))
    assert page.texts("pre", class_="command") == [
        "python train.py loss=normsv5 model.captions=2 'data.languages=[en,es]'"
    ]
    assert facts["test recall@1"] == "0.315"
    words = page.texts("header")[0]
    for text in (
        "chance 0.005, ceiling 0.997",
        "39",
        "205 s",
        "248 ms a step",
        "743",
        "739,905",
        "seed7",
        "3: image, caption 1, decoded 2",
    ):
        assert text in words
    assert page.texts("div", class_="problems") == [
        "1 of 40 steps was skipped because the loss or the gradient was not finite."
    ]
    assert "python 3.11.7 · torch 2.13.0" in page.texts("footer")[0]


def test_key_numbers_come_before_pictures(text):
    assert text.index("0.315") < text.index("<img")


def test_every_part_has_its_section(page):
    assert page.texts("h2") == SECTIONS
    assert page.texts("nav") == [" ".join(SECTIONS)]
    assert {link["href"] for link in page.all("a")} == {f"#{section['id']}" for section in page.all("section")}


def test_one_file_without_scripts_that_needs_no_other(page):
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    (style,) = page.texts("style")
    assert "url(" not in style
    assert "@import" not in style


def test_captions_and_tokens_are_text(page, text):
    assert page.texts("h3") == ["<script>alert('x')</script> costs $5 & $6", "一个红色的圆"]
    assert "<script" not in text
    assert {"<b>", "\\n", "red|blue"} <= set(page.texts("th", scope="row"))


def test_pictures_are_described_and_the_same_as_the_files(page, folder):
    files = {file.read_bytes() for file in (folder / "report").glob("*.png") if file.name != "examples.png"}
    figures = [image for image in page.all("img") if not image["alt"].startswith("Sample")]
    assert {base64.b64decode(image["src"].split(",")[1]) for image in figures} == files
    assert len(files) == len(figures) > 10
    assert all(len(image["alt"]) > 20 and int(image["width"]) > int(image["height"]) / 3 for image in figures)


def test_right_hits_are_framed(page):
    hits = page.all("li")
    assert len(hits) == 10
    assert [place for place, hit in enumerate(hits) if hit.get("class") == "match"] == [0]
    assert page.texts("li")[:2] == ["✓ 0.900", "0.800"]


def rows_of(page: Page, caption: str) -> list[list[str]]:
    """Returns the cells of the table whose caption starts with `caption`."""
    place = next(
        i
        for i, element in enumerate(page.elements)
        if element["tag"] == "caption" and element["text"].startswith(caption)
    )
    rows: list[list[str]] = []
    for element in page.elements[place:]:
        if element["tag"] == "caption" and element is not page.elements[place]:
            break
        if element["tag"] == "tr":
            rows.append([])
        if element["tag"] in ("th", "td"):
            rows[-1].append(" ".join(element["text"].split()))
    return rows


def test_tables_hold_the_figures(page):
    assert rows_of(page, "By split")[1:] == [
        ["val (100)", "0.300", "0.600", "0.800", "0.900", "0.750", "1.250"],
        ["chance", "0.010", "0.050", "0.100", "0.010", "", ""],
        ["ceiling", "0.997", "1.000", "1.000", "", "", ""],
        ["test (200)", "0.315", "0.630", "0.800", "0.900", "0.750", "1.250"],
        ["chance", "0.005", "0.025", "0.050", "0.005", "", ""],
        ["ceiling", "0.997", "1.000", "1.000", "", "", ""],
    ]
    ranked = rows_of(page, "By caption")[1:]
    assert [row[0] for row in ranked] == [
        "caption 1 → image",
        "decoded 2 → image",
        "image → caption 1",
        "image → decoded 2",
        "image → any of 2 captions",
    ]
    assert ranked[1] == ["decoded 2 → image", "0.1100.090–0.130", "0.2200.200–0.240", "0.3300.310–0.350", "21.5"]
    assert rows_of(page, "Zero-shot")[1] == ["test", "0.7100.650–0.770", "–", "0.260", "4", "200"]
    assert rows_of(page, "Probes")[1] == ["image features", "0.830", "0.260", "train512 samples", "test200 samples"]
    assert rows_of(page, "Features of every view")[1] == ["image", "-2.500", "40.50", "–"]
    assert rows_of(page, "Tokens furthest")[1] == ["\\n", "-0.300"]


def test_tables_have_headers_and_captions(page):
    assert len(page.all("table")) == len(page.all("caption")) == len(page.all("thead"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))


@pytest.mark.slow
def test_the_same_files_give_the_same_page(folder, text, tmp_path):
    again = tmp_path / folder.name
    shutil.copytree(folder, again, ignore=shutil.ignore_patterns("report"))
    write_report(again)
    assert (again / "report" / "index.html").read_text(encoding="utf-8") == text
