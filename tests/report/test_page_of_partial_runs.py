"""report/index.html of runs that lack files, failed or were only evaluated: the page shows what there is, and says what
went wrong.
"""

from __future__ import annotations

import json
import shutil

import pytest

from model.errors import ConfigError
from model.report.page import write_report
from tests.conftest import some
from tests.report.html_page import SECTIONS, Page
from tests.report.run_folder import SUMMARY


def page_of(folder) -> Page:
    """Writes the page of a folder and reads it."""
    return Page(write_report(folder)[0].read_text(encoding="utf-8"))


GONE = {
    "analysis.json": ("Classification", "Tokens"),
    "examples": ("Retrieved examples",),
    "cka.npz": ("Layers",),
    "health.jsonl": ("Gradient health",),
    "metrics.csv": ("Training",),
    "summary.json": (),
    ".hydra": (),
}


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("name", some(GONE, 2))
def test_a_section_without_its_file_is_not_on_the_page(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report", name))
    page = page_of(tmp_path / "run")
    assert page.texts("h2") == [section for section in SECTIONS if section not in GONE[name]]
    assert all(image["src"] and image["alt"] for image in page.all("img"))
    if name == "summary.json":
        assert "There is no summary.json" in page.texts("div", class_="problems")[0]
    if name == ".hydra":
        assert page.texts("h1") == ["run complete"]


def test_the_page_names_repairs(bare):
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
    """Returns the summary of a run with this recall@1 for each split, in this order."""
    return {
        "status": "complete",
        "metrics": {f"{split}/{name}": value for split, value in recalls.items() for name in ("recall@1", "swap_acc")},
    }


@pytest.mark.usefixtures("unpainted")
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


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_say_which_split_they_are_of(folder, tmp_path, split):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    file = tmp_path / "run" / "examples" / "examples.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "split": split}))
    assert f"The examples are from the {split} split." in page_of(tmp_path / "run").texts("section", id="examples")[0]


def test_failed_parts_of_the_analysis_are_named(bare):
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
    ids=["empty", "header", "nan", "one_zero", "truncated"],
)
def test_a_run_with_very_few_rows_has_a_page(bare, metrics):
    page_of(bare(metrics__csv=metrics))


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("name", ["analysis.json", "cka.npz", ".hydra/config.yaml", ".hydra/hydra.yaml"])
def test_a_damaged_file_is_left_out_with_a_warning(folder, tmp_path, caplog, name):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    (tmp_path / "run" / name).write_bytes(b"{'broken: [")
    page_of(tmp_path / "run")
    assert f"{name} is left out of the report" in caplog.text


@pytest.mark.usefixtures("unpainted")
def test_a_missing_picture_has_a_placeholder(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report", "3.png"))
    assert page_of(tmp_path / "run").texts("span", class_="gone") == ["no picture"] * 2


@pytest.mark.usefixtures("unpainted")
def test_a_picture_that_cannot_be_drawn_does_not_prevent_the_others(folder, tmp_path, monkeypatch):
    """The page names the missing picture."""
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    every_picture = {path.stem for path in write_report(tmp_path / "run") if path.suffix == ".png"}

    def refuse_loss(axes):
        if axes.get_title() == "Loss":
            raise ValueError("no room")

    monkeypatch.setattr("model.report.plots.legend", refuse_loss)
    with pytest.warns(RuntimeWarning, match="The picture loss could not be drawn: ValueError"):
        page, *pictures = write_report(tmp_path / "run")
    assert {path.stem for path in pictures} == every_picture - {"loss"}
    problems = Page(page.read_text(encoding="utf-8")).texts("div", class_="problems")[0]
    assert "The picture loss could not be drawn: ValueError: no room" in problems


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(
    ("used", "shown"),
    [("16-mixed", "16-mixed"), ("bf16-mixed", "bf16-mixed (the device does not support trainer.precision=16-mixed)")],
)
def test_the_precision_is_that_of_the_run(bare, used, shown):
    """A CPU uses bfloat16 for `16-mixed`."""
    folder = bare(summary__json={**SUMMARY, "precision": used})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("trainer: {precision: 16-mixed}")
    page = page_of(folder)
    assert dict(zip(page.texts("dt"), page.texts("dd", class_=None), strict=False))["precision"] == shown


def test_a_folder_that_is_not_a_runs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run's folder; allowed: .*summary\.json"):
        write_report(tmp_path)
