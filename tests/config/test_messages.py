"""The answer to a mistake on the command line: exit code 2, at most two lines, the key, the value, what is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.command import command_line

ROOT = Path(__file__).resolve().parents[2]


def train(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """`python train.py …` in `folder`."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


MISTAKES = [
    (("loss=normv5",), ("loss=normv5", "allowed", "einsum", "did you mean loss=normsv5?")),
    (("loss=_keys",), ("loss=_keys", "allowed")),
    (("los=norms",), ("los ", "allowed", "loss")),
    (("optimizer.lrr=1",), ("optimizer.lrr", "lr", "allowed", "did you mean optimizer.lr?")),
    (("+typo=1",), ("typo", "allowed", "seed")),
    (("++optimizer.typo=1",), ("optimizer.typo", "allowed", "weight_decay")),
    (("trainer.max_steps=many",), ("trainer.max_steps=many", "allowed", "a whole number")),
    (("optimizer.lr=true",), ("optimizer.lr=true", "allowed", "a number")),
    (("monitor.clip=-1.0",), ("monitor.clip=-1.0", "allowed", "above 0")),
    (("data.batch_size=1",), ("data.batch_size=1", "allowed", "2 to")),
    (("model.captions=0",), ("model.captions=0", "allowed", "1 or more")),
    (("model.captions=6",), ("model.captions=6", "allowed", "1 to 5")),
    (("seed=-1",), ("seed=-1", "allowed", "0 to 4294967295")),
    (("model.projection=inverse",), ("model.projection=inverse", "allowed", "iinv")),
    (("model=clip", "model.eot_select=gumbel"), ("model.eot_select", "allowed")),
    (("data=coco",), ("data.root", "allowed")),
    (("data=coco", "data.root=nowhere"), ("nowhere", "allowed")),
    (("data=emoji", "data.root=nowhere.ttf"), ("nowhere.ttf", "allowed")),
    (("monitor.clip=1", "trainer.gradient_clip_val=1"), ("trainer.gradient_clip_val=1", "monitor.clip", "allowed")),
    (("ckpt_path=last",), ("ckpt_path=last", "allowed", "hydra.run.dir")),
    (("train=false",), ("ckpt_path", "allowed")),
    (("trainer.max_epochs=-1",), ("trainer.max_epochs=-1", "allowed", "trainer.max_steps")),
    (("backbone.vision_heads=5",), ("backbone.vision_width=", "allowed", "multiples")),
    (("loss=norms,einsum",), ("loss=norms,einsum", "-m")),
    (("data.transforms=light",), ("data.transforms=light", "allowed: data/transforms=<choice>", "standard")),
    (("data=emoji", "data.augment=true"), ("data.augment", "did you mean data/transforms=emoji")),
    (("data/transforms=strong",), ("data/transforms=strong", "allowed: emoji, light, none, standard")),
    (("data.transforms.hue=0.6",), ("data.transforms.hue=0.6", "allowed: 0 to 0.5")),
    (("data.transforms.blur_sigma=[2,1]",), ("data.transforms.blur_sigma=[2.0,1.0]", "allowed: [least,most]")),
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [pytest.param(*mistake, marks=[pytest.mark.slow] if number % 8 else []) for number, mistake in enumerate(MISTAKES)],
)
def test_a_mistake_is_two_lines(arguments, words, tmp_path, monkeypatch, capsys):
    """Runs in this process, because a new process spends seconds on imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "hydra/job_logging=none", "hydra/hydra_logging=none"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    code = command_line()
    error = capsys.readouterr().err
    assert code == 2, error
    assert 1 <= len(error.splitlines()) <= 2, error
    assert [word for word in words if word not in error] == [], error
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert left == []


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    """The answer has exit code 2, at most two lines and no traceback."""
    done = train("monitor.clip=-1.0", folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_full_errors_are_there_when_asked_for(tmp_path):
    done = train("loss=unknown", folder=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("flag", [("--help",), ("--cfg", "job")])
def test_help_and_the_configuration_need_no_heavy_package(flag, tmp_path):
    """Import time decides: torch alone takes longer than both answers."""
    probe = "import sys; sys.path.insert(0, sys.argv.pop(1)); from model.command import command_line; command_line(); "
    probe += (
        "print('HEAVY', [name for name in ('torch', 'pytorch_lightning', 'transformers', 'matplotlib') if name "
        "in sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", probe, str(ROOT), *flag], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "normsv5" in done.stdout
    assert "HEAVY []" in done.stdout
    assert time.monotonic() - began < 30


def test_a_used_folder_is_not_overwritten(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("step\n1\n")
    done = train("hydra.run.dir=run", folder=tmp_path)
    assert done.returncode == 2
    assert "holds a run already" in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["metrics.csv"]
