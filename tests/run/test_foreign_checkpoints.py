"""Files that are not checkpoints of this program are refused in one line, and never executed; a scale above its cap is
lowered.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from model.checkpoint.files import checkpoint_path
from model.errors import ConfigError
from model.module import NWayClip
from model.run import run
from tests.conftest import SMALL, compose_run


class Executes:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> dict:
    """The content of a checkpoint."""
    folder = tmp_path_factory.mktemp("content")
    run(compose_run(*SMALL, "model=clip", "analysis=off", "trainer.max_epochs=1"), folder)
    return torch.load(checkpoint_path(folder, "last"), weights_only=True)


def write(path: Path, kind: str, content: dict, executed: Path) -> None:
    """Writes a file of one kind to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "bomb":
        torch.save({**content, "more": Executes(executed)}, path)
    elif kind == "bomb_old_format":
        torch.save({**content, "more": Executes(executed)}, path, _use_new_zipfile_serialization=False)
    elif kind == "bare_pickle":
        path.write_bytes(pickle.dumps(Executes(executed)))
    elif kind == "half":
        torch.save(content, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("a text")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "text")
    else:
        values = {
            "list": [1, 2],
            "weights_alone": content["state_dict"],
            "no_weights": {key: value for key, value in content.items() if key != "state_dict"},
            "no_callbacks": {key: value for key, value in content.items() if key != "callbacks"},
            "numbers_as_weights": {**content, "state_dict": {"a": 1.0}},
        }
        torch.save(values[kind], path)


KINDS = [
    "bomb",
    "bomb_old_format",
    "bare_pickle",
    "half",
    "empty",
    "text",
    "zip",
    "list",
    "weights_alone",
    "no_weights",
    "no_callbacks",
]


@pytest.mark.parametrize("kind", [*KINDS, "numbers_as_weights"])
@pytest.mark.parametrize(
    "arguments", [("train=true",), pytest.param(("train=false", "evaluate=[test]"), marks=pytest.mark.slow)]
)
def test_another_file_is_refused(content, small, tmp_path, kind, arguments):
    path, executed = tmp_path / "file.ckpt", tmp_path / "executed"
    write(path, kind, content, executed)
    with pytest.raises(
        ConfigError, match=r"ckpt_path=.*file\.ckpt is not a checkpoint of this program \(.+\); allowed: "
    ) as caught:
        run(small("model=clip", "analysis=off", f"ckpt_path={path}", *arguments), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not executed.exists()


@pytest.mark.parametrize("value", [math.log(500), pytest.param(500.0, marks=pytest.mark.slow), math.inf])
def test_a_scale_above_its_cap_is_lowered_before_the_first_step(content, small, tmp_path, value, monkeypatch):
    path = tmp_path / "file.ckpt"
    torch.save({**content, "state_dict": {**content["state_dict"], "logit_scale": torch.tensor(value)}}, path)
    used, plain = [], NWayClip.multiplier

    def multiplier(self):
        used.append(float(plain(self).detach()))
        return plain(self)

    monkeypatch.setattr(NWayClip, "multiplier", multiplier)
    summary = run(small("model=clip", "analysis=off", f"ckpt_path={path}"), tmp_path / "run")
    assert summary.steps["skipped"] == 0
    assert max(used) <= float(content["state_dict"]["scale_cap"]) * (1 + 1e-6)
    used.clear()
    run(small("model=clip", "analysis=off", f"ckpt_path={path}", "train=false", "evaluate=[test]"), tmp_path / "run")
    assert max(used) <= float(content["state_dict"]["scale_cap"]) * (1 + 1e-6)
