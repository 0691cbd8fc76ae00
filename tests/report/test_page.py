"""report/index.html: everything that a run's files hold, nothing that they do not, one file, escaped."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from model.errors import ConfigError
from model.report.page import write_report
from tests.conftest import some
from tests.report.html_page import Page
from tests.report.run_folder import SUMMARY, write_run

SECTIONS = [
    "Recall",
    "Retrieved examples",
    "Training",
    "Classification",
    "Features",
    "Layers",
    "Gradient health",
    "Tokens",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with every part, its report drawn."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "whole")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder) -> str:
    """Its page."""
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    """The same, read."""
    return Page(text)


@pytest.fixture
def bare(tmp_path):
    """`bare(name=content, …)`: a folder with these files only (`__` stands for a dot)."""

    def make(**files: object):
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return make


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Pictures are made but not painted, which takes most of the time."""
    monkeypatch.setattr("model.report.page.as_png", lambda figure: b"painted")


def page_of(folder) -> Page:
    """The page of a folder, drawn now."""
    return Page(write_report(folder)[0].read_text(encoding="utf-8"))


def test_the_heading_says_what_the_run_was(page):
    (heading,) = page.texts("h1")
    assert heading == "normsv5 · v534dim · scenes complete"
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=False))
    assert page.texts("pre", class_="command") == [
        "python train.py loss=normsv5 model.captions=2 'data.languages=[en,es]'"
    ]
    assert facts["test recall@1"] == "0.315"
    words = page.texts("header")[0]
    for told in (
        "chance 0.005, ceiling 0.997",
        "39",
        "205 s",
        "248 ms a step",
        "743",
        "739,905",
        "seed7",
        "3: image, caption 1, decoded 2",
    ):
        assert told in words
    assert page.texts("div", class_="problems") == [
        "1 of 40 steps were left out because loss or gradient was not finite."
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
    """The cells of the table whose caption starts so."""
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
    assert rows_of(page, "Image to caption 1")[1:] == [
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
    assert rows_of(page, "Furthest")[1] == ["\\n", "-0.300"]


def test_tables_have_headers_and_captions(page):
    assert len(page.all("table")) == len(page.all("caption")) == len(page.all("thead"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))


def test_the_same_files_give_the_same_page(folder, text, tmp_path):
    again = tmp_path / folder.name
    shutil.copytree(folder, again, ignore=shutil.ignore_patterns("report"))
    write_report(again)
    assert (again / "report" / "index.html").read_text(encoding="utf-8") == text


GONE = {
    "analysis.json": ("Classification", "Tokens"),
    "examples": ("Retrieved examples",),
    "cka.npz": ("Layers",),
    "health.jsonl": ("Gradient health",),
    "metrics.csv": ("Training",),
    "summary.json": (),
    ".hydra": (),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", some(GONE, 2))
def test_what_a_run_did_not_leave_is_not_on_its_page(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report", name))
    page = page_of(tmp_path / "run")
    assert page.texts("h2") == [section for section in SECTIONS if section not in GONE[name]]
    assert all(image["src"] and image["alt"] for image in page.all("img"))
    if name == "summary.json":
        assert "There is no summary.json" in page.texts("div", class_="problems")[0]
    if name == ".hydra":
        assert page.texts("h1") == ["run complete"]


def test_a_run_names_what_was_repaired(bare):
    repair = "checkpoints/best.ckpt is damaged (it is empty) and was renamed to best.ckpt.damaged"
    page = page_of(bare(summary__json={"status": "complete", "metrics": {}, "repairs": [repair]}))
    assert page.texts("div", class_="problems") == [repair]


def test_a_failed_run_says_why_before_anything_else(bare):
    reason = "RuntimeError: CUDA out of memory <at step 3>"
    page = page_of(bare(summary__json={"status": "failed", "reason": reason, "versions": {"torch": "2.13.0"}}))
    assert page.texts("h1")[0].endswith("failed")
    assert page.texts("div", class_="problems") == [reason]
    place = [element["tag"] for element in page.elements]
    assert all(later not in place[: place.index("div")] for later in ("table", "img", "section", "dl", "pre"))
    assert page.all("section") == page.all("img") == []


def test_a_halted_run_names_the_layers(bare):
    halt = {"step": 5, "reason": "the gradient is not finite", "indices": [1], "layers": ["encoder.towers.text"]}
    page = page_of(bare(summary__json={"status": "failed", "reason": "TrainingHalted: step 5"}, halt__json=halt))
    assert (
        "Halted at step 5: the gradient is not finite. Layers: encoder.towers.text."
        in page.texts("div", class_="problems")[0]
    )


def test_an_evaluation_alone_has_a_page(bare):
    page = page_of(bare(evaluation__json={**SUMMARY, "steps": {"attempted": 0, "applied": 0}, "step_seconds": None}))
    assert page.texts("h1")[0].endswith("evaluated")
    assert page.texts("h2") == ["Recall"]
    assert "0.315" in page.texts("header")[0]


def measured(**recalls: float) -> dict:
    """The summary of a run with this recall@1 of every split, in this order."""
    return {
        "status": "complete",
        "metrics": {f"{split}/{name}": value for split, value in recalls.items() for name in ("recall@1", "swap_acc")},
    }


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("summary", "evaluation", "shown"),
    [
        (measured(val=0.2, train=0.9, test=0.3), {}, {"test recall@1": "0.300", "test swap acc.": "0.300"}),
        (measured(train=0.9, val=0.2), {}, {"val recall@1": "0.200", "val swap acc.": "0.200"}),
        (measured(train=0.9), {}, {}),
        (measured(val=0.2), measured(train=0.9, test=0.4), {"test recall@1": "0.400", "test swap acc.": "0.400"}),
    ],
    ids=["test", "val", "train", "evaluated_later"],
)
def test_the_heading_never_has_figures_of_the_training_split(bare, summary, evaluation, shown):
    page = page_of(bare(summary__json=summary, evaluation__json=evaluation))
    assert dict(zip(page.texts("dt"), page.texts("dd", class_=None), strict=False)) == shown


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_say_which_split_they_are_of(folder, tmp_path, split):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    file = tmp_path / "run" / "examples" / "examples.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "split": split}))
    assert f"They are of the {split} split." in page_of(tmp_path / "run").texts("section", id="examples")[0]


def test_parts_that_failed_are_told(bare):
    page = page_of(
        bare(summary__json=SUMMARY, analysis__json={"views": [], "notes": {"probes": "ValueError: one class"}})
    )
    assert "analysis.probes is missing: ValueError: one class" in page.texts("div", class_="problems")[0]


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        "epoch,step\n",
        "epoch,step,train/loss\n0,10,nan\n",
        "epoch,step,val/recall@1\n0,10,0.0\n",
        "epoch,step,train/loss\n0,10,1.5\n0,20,",
    ],
    ids=["empty", "header", "nan", "one_zero", "cut"],
)
def test_a_run_of_hardly_any_rows_has_a_page(bare, metrics):
    page_of(bare(metrics__csv=metrics))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["analysis.json", "cka.npz", ".hydra/config.yaml", ".hydra/hydra.yaml"])
def test_a_broken_file_is_left_out_with_a_warning(folder, tmp_path, caplog, name):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    (tmp_path / "run" / name).write_bytes(b"{'broken: [")
    page_of(tmp_path / "run")
    assert f"{name} is left out of the report" in caplog.text


@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_is_gone_leaves_its_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report", "3.png"))
    assert page_of(tmp_path / "run").texts("span", class_="gone") == ["no picture"] * 2


@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_cannot_be_drawn_costs_no_other(folder, tmp_path, monkeypatch):
    """Nor the page, which names it."""
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    whole = {path.stem for path in write_report(tmp_path / "run") if path.suffix == ".png"}

    def refuse_loss(axes):
        if axes.get_title() == "Loss":
            raise ValueError("no room")

    monkeypatch.setattr("model.report.plots.legend", refuse_loss)
    with pytest.warns(RuntimeWarning, match="The picture loss could not be drawn: ValueError"):
        page, *pictures = write_report(tmp_path / "run")
    assert {path.stem for path in pictures} == whole - {"loss"}
    told = Page(page.read_text(encoding="utf-8")).texts("div", class_="problems")[0]
    assert "The picture loss could not be drawn: ValueError: no room" in told


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("used", "shown"),
    [("16-mixed", "16-mixed"), ("bf16-mixed", "bf16-mixed (the device does not support trainer.precision=16-mixed)")],
)
def test_the_precision_is_that_of_the_run(bare, used, shown):
    """Of `16-mixed` a CPU makes bfloat16."""
    folder = bare(summary__json={**SUMMARY, "precision": used})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("trainer: {precision: 16-mixed}")
    page = page_of(folder)
    assert dict(zip(page.texts("dt"), page.texts("dd", class_=None), strict=False))["precision"] == shown


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run's folder; allowed: .*summary\.json"):
        write_report(tmp_path)
