"""Results of commit b09aa08 stay usable: its sweeps count as done, its checkpoints are evaluated or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from model.analysis import validation
from model.checkpoint.files import checkpoint_path
from model.config.compose import config_hash
from model.errors import ConfigError
from model.run import run
from tests.run.sweeps import contents, sweep

__all__ = ["sweep"]
OLD = Path(__file__).parents[1] / "golden" / "sweep_b09aa08"
# The command of that sweep, with the old values of the defaults that have changed since.
ARGUMENTS = ("model.captions=2", "seed=1", "backbone.lr=4e-3", "analysis=standard")
THEN = ("backbone.translator_norm=post", "backbone.translator_init=marian")
UNCAPPED = "loss.scale_cap=null"
V534DIM = "norms_seed1_ba41367dc419"


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy of the sweep's folder; Hydra's files are kept without the dot that hides them."""
    folder = shutil.copytree(OLD, tmp_path / "sweep")
    for hydra in folder.glob("*/hydra"):
        hydra.rename(hydra.with_name(".hydra"))
    return folder


@pytest.mark.parametrize(
    ("model", "more"),
    [
        pytest.param("clip", (), marks=pytest.mark.slow),
        ("v534dim", THEN),
        pytest.param("clip", ("backbone.translator_norm=post",), marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_sweep_counts_as_done(sweep, old, model, more):
    before = {name: content for name, content in contents(old).items() if "seed1" in name}
    assert sweep("loss=stock,norms", f"model={model}", *ARGUMENTS, *more) == 0
    after = contents(old)
    assert {name: content for name, content in after.items() if "seed1" in name} == before
    assert len(list(old.glob("*_seed1_*"))) == 4


@pytest.mark.slow
def test_a_changed_default_is_another_job_and_a_column(sweep, old):
    """The norm and the initial weights change the six views."""
    assert sweep("loss=norms", "model=v534dim", *ARGUMENTS) == 0
    assert len(list(old.glob("norms_seed1_*"))) == 3
    header = (old / "comparison.csv").read_text().splitlines()[0].split(",")
    assert {"backbone.translator_norm", "backbone.translator_init"} <= set(header)


def test_hashes_have_not_changed(composed):
    """As commit b09aa08 computed them from the whole configuration."""
    assert config_hash(composed("model=clip", "backbone.lr=4e-3", UNCAPPED)) == "e6d8f58e0746"
    assert config_hash(composed("model=v534dim", "backbone.lr=4e-3", UNCAPPED, *THEN)) == "e402de207933"
    assert config_hash(composed("model=v5335dim", "loss=norms", "seed=3", "backbone.lr=4e-3", *THEN)) == "59c2e925c9c0"


@pytest.mark.slow
def test_a_new_key_is_part_of_the_hash_where_it_has_an_effect(composed):
    changes = [(), ("objective=val/swap_acc",), (UNCAPPED,), (THEN[0],), (THEN[1],)]
    assert len({config_hash(composed(*change)) for change in changes}) == 5
    assert len({config_hash(composed("model=clip", *change)) for change in changes}) == 3


def as_then(loss, views, scale, batch_size) -> tuple[float, float]:
    """Loss and won lines of 20 rows as that version contrasted them: in batches of 7, 7 and 6."""
    batches = views.split([7, 7, 6], dim=1)
    losses = [float(loss(batch, scale)) * batch.shape[1] / 20 for batch in batches]
    wins = [
        (loss.lines(batch).argmax(2) == torch.arange(batch.shape[1])).double().mean().item() * batch.shape[1] / 20
        for batch in batches
    ]
    return sum(losses), sum(wins)


def test_a_checkpoint_still_gives_its_metrics(old, small, tmp_path, monkeypatch):
    """Evaluated with the norm that it was trained with, whatever first weights the configuration names."""
    monkeypatch.setattr(validation, "batch_figures", as_then)
    job = old / V534DIM
    known = json.loads((job / "summary.json").read_text())["metrics"]
    (tmp_path / "run").mkdir()
    config = small(
        "loss=norms",
        "model=v534dim",
        *ARGUMENTS,
        THEN[0],
        "train=false",
        f"ckpt_path={checkpoint_path(job, 'best')}",
        "evaluate=[test]",
        "analysis=off",
    )
    figures = run(config, tmp_path / "run").metrics
    for name in ("loss", "recall@1", "recall@5", "recall@10", "swap_acc"):
        assert figures[f"test/{name}"] == pytest.approx(known[f"test/{name}"], rel=1e-5)


@pytest.mark.parametrize("more", [("train=false", "evaluate=[test]"), ()])
def test_a_checkpoint_with_another_norm_is_refused(old, small, tmp_path, more):
    """The message names the key and the value that fits."""
    config = small(
        "loss=norms", "model=v534dim", *ARGUMENTS, f"ckpt_path={checkpoint_path(old / V534DIM, 'best')}", *more
    )
    with pytest.raises(
        ConfigError, match=r"translator_norm=post, here it is pre; allowed: backbone\.translator_norm=post"
    ):
        run(config, tmp_path)
