"""TensorBoard and W&B get what metrics.csv gets, at the same steps, and the pictures of the report."""

from __future__ import annotations

import json
import sys
import time

import pytest
from PIL import Image

from model.loggers import make_loggers
from model.record.metrics_csv import read_rows
from model.run import run

REPORT = ("report=true", "trainer.max_epochs=2")


def journal(folder) -> dict[str, list[tuple[int, float]]]:
    """Returns, for each column of metrics.csv, its steps and values."""
    columns: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(folder / "metrics.csv"):
        for key, value in row.items():
            if key not in ("epoch", "step"):
                columns.setdefault(key, []).append((int(row["step"]), float(value)))
    return columns


def held_out(summary) -> dict[str, float]:
    """Returns the metrics of the test split, which are known only at the end."""
    return {key: value for key, value in summary.metrics.items() if key.startswith("test/")}


@pytest.mark.slow
def test_tensorboard_has_the_metrics_and_the_pictures(small, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    summary = run(small(*REPORT, "logger=tensorboard", "monitor.every_n_steps=2"), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    logged = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    expected = {**journal(tmp_path), **{key: [(6, value)] for key, value in held_out(summary).items()}}
    assert logged.keys() == expected.keys()
    for key, points in expected.items():
        assert logged[key] == [(step, pytest.approx(value, rel=1e-6, abs=1e-30)) for step, value in points], key
    drawn = {file.stem: file for file in (tmp_path / "report").glob("*.png")}
    assert set(events.Tags()["images"]) == {f"report/{name}" for name in drawn}
    for name, file in drawn.items():
        (event,) = events.Images(f"report/{name}")
        with Image.open(file) as picture:
            assert (event.step, event.width, event.height) == (6, *picture.size)


def breaks_after(steps, monkeypatch):
    """Makes training fail after `steps` optimizer steps."""
    from model.module import NWayClip

    good = NWayClip.training_step

    def breaks(self, *batch):
        if self.global_step == steps:
            raise RuntimeError("interrupted")
        return good(self, *batch)

    monkeypatch.setattr(NWayClip, "training_step", breaks)


@pytest.mark.slow
def test_tensorboard_shows_no_row_of_a_continued_run_twice(small, tmp_path, monkeypatch):
    """Five steps are written, and the checkpoint is of step four."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = ("logger=tensorboard", "trainer.checkpoint_every_n_steps=2", "monitor.every_n_steps=1")
    with monkeypatch.context() as patch:
        breaks_after(5, patch)
        with pytest.raises(RuntimeError, match="interrupted"):
            run(small(*config), tmp_path)
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1
    run(small(*config, "ckpt_path=last"), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    expected = journal(tmp_path)
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    for key, points in expected.items():
        assert [event.step for event in events.Scalars(key)] == [step for step, _ in points], key


def wandb_records(folder, file=None) -> tuple[list[dict], dict, int]:
    """Returns the rows of the history, the configuration and the exit code of an offline run.

    file: the file of the run, None for the only one in the folder.
    """
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    if file is None:
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    store, rows, config, code = DataStore(), [], {}, -1
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            )
        elif record.WhichOneof("record_type") == "config":
            config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.config.update}
        elif record.WhichOneof("record_type") == "exit":
            code = record.exit.exit_code
    store.close()
    return rows, config, code


@pytest.fixture
def offline(monkeypatch):
    """Makes W&B print nothing and send nothing."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return ("logger=wandb", "logger.offline=true")


@pytest.mark.slow
def test_wandb_has_the_metrics_and_the_pictures_of_each_run_of_a_process(small, tmp_path, offline):
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        summary = run(small(*REPORT, *offline, f"seed={seed}"), folder)
        rows, config, code = wandb_records(folder)
        assert (config["seed"], config["loss"]["name"], code) == (seed, "normsv5", 0)
        logged: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            for key, value in row.items():
                if not key.startswith(("_", "trainer/", "report/")):
                    logged.setdefault(key, []).append((row["trainer/global_step"], value))
        assert logged == {**journal(folder), **{key: [(6, value)] for key, value in held_out(summary).items()}}
        shown = {key.removesuffix("/_type") for row in rows for key in row if key.endswith("/_type")}
        assert shown == {f"report/{file.stem}" for file in (folder / "report").glob("*.png")}
        assert len(list(folder.glob("wandb/offline-run-*/files/media/images/report/*.png"))) == len(shown) > 0


@pytest.mark.slow
def test_a_continued_run_keeps_its_wandb_id(small, tmp_path):
    """A run in another folder has another id."""
    pytest.importorskip("wandb")
    config = small("logger=wandb", "logger.offline=true").logger
    first, again, other = (
        make_loggers(config, folder)[0] for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b")
    )
    assert first.version == again.version == (tmp_path / "a" / "wandb_id").read_text().strip()
    assert first.version != other.version


@pytest.mark.slow
def test_wandb_gets_the_rows_of_a_continued_run_under_one_id(small, tmp_path, offline, monkeypatch):
    with monkeypatch.context() as patch:
        breaks_after(5, patch)
        with pytest.raises(RuntimeError, match="interrupted"):
            run(small(*offline, "trainer.checkpoint_every_n_steps=2"), tmp_path)
    time.sleep(1.1)  # W&B names its folders by the second
    run(small(*offline, "trainer.checkpoint_every_n_steps=2", "ckpt_path=last"), tmp_path)
    written = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert {file.stem for file in written} == {f"run-{(tmp_path / 'wandb_id').read_text().strip()}"}
    steps = [
        [row["trainer/global_step"] for row in wandb_records(tmp_path, file)[0] if "train/loss" in row]
        for file in written
    ]
    assert steps == [[1, 2, 3, 4, 5], [5, 6]]


@pytest.mark.slow
def test_a_failed_run_ends_its_wandb_run(small, tmp_path, offline, monkeypatch):
    from model.module import NWayClip

    def fails(self, batch, index):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(NWayClip, "training_step", fails)
    with pytest.raises(RuntimeError, match="the disk is full"):
        run(small(*offline), tmp_path)
    assert sys.modules["wandb"].run is None
    assert wandb_records(tmp_path)[2] == 1


def test_a_logger_that_breaks_at_the_end_does_not_break_the_run(small, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from pytorch_lightning.loggers import TensorBoardLogger

    log = TensorBoardLogger.log_metrics

    def refuses(self, metrics, step=None):
        if any(key.startswith("test/") for key in metrics):
            raise OSError("no space left")
        log(self, metrics, step)

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", refuses)
    with pytest.warns(
        RuntimeWarning, match="logger=tensorboard did not get the end of the run: OSError: no space left"
    ):
        assert run(small("logger=tensorboard"), tmp_path).status == "complete"
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "complete"
