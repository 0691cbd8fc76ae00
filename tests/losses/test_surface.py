"""What a caller can rely on: names, files, errors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.losses import available, make_loss
from model.losses.options import check_options
from model.losses.registry import ENTRIES

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "loss"


def test_every_name_has_a_score_and_a_file_whose_first_line_says_what_it_is():
    files = {path.stem: path.read_text().splitlines() for path in CONF.glob("[!_]*.yaml")}
    assert sorted(files) == sorted(available()) == sorted(ENTRIES)
    for name, lines in files.items():
        assert "family" in lines[0], name
        assert "(B, F)" in lines[0] or "B * B * F" in lines[0], name
        assert lines[-1] == f"name: {name}"


def test_the_options_are_known_without_importing_torch():
    code = "import sys; import model.losses.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("views", "error", "text"),
    [
        (torch.zeros(1, 3, 4), ValueError, "views: 1 given; accepted: 2 or more"),
        ([torch.zeros(3, 4), torch.zeros(3, 5)], ValueError, r"views\[1\]: shape \(3, 5\) given; accepted: \(3, 4\)"),
        (torch.zeros(2, 0, 4), ValueError, r"views\[0\]: shape \(0, 4\) given"),
        (torch.zeros(2, 3), ValueError, r"views\[0\]: shape \(3,\) given"),
        (torch.zeros(2, 3, 4, dtype=torch.int64), TypeError, r"views\[0\]: dtype torch.int64 given"),
    ],
)
@pytest.mark.parametrize("name", ["stock", "norms"])
def test_views_that_no_loss_can_read_are_refused(name, views, error, text):
    loss = make_loss(name)
    for call in (lambda: loss(views, torch.tensor(1.0)), lambda: loss.score(views), lambda: loss.lines(views)):
        with pytest.raises(error, match=text):
            call()


LEARNED = {"mask": "learned", "views": 4}


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("norm", {}, "loss=norm is not known; allowed: .*\ndid you mean loss=norms"),
        ("norms", {"targets": "hard"}, "loss.targets=hard is not known; allowed: diagonal, soft"),
        ("norms", {"eps": 0.0}, "loss.eps=0.0 is not positive"),
        ("norms", {"memory_mib": 0}, "loss.memory_mib=0 is too small"),
        ("norms", {"views": 1}, "views=1 is too small"),
        ("stock", {"axes": "first"}, "loss.axes=first means nothing with loss=stock"),
        ("base", {"mask": "raw"}, "loss.mask=raw means nothing with loss=base"),
        ("normsvc", {"targets": "soft"}, "loss.targets=soft means nothing with loss=normsvc"),
        ("stock", {"evaluation": "dense"}, "loss.evaluation=dense means nothing with loss=stock"),
        ("stock", {"normalize": False}, "loss.normalize=False means nothing with loss=stock"),
        ("stable_norm", {"normalize": False}, "loss.normalize=False means nothing with loss=stable_norm"),
        (
            "symile",
            {"mask": "raw"},
            "loss.mask=raw means nothing with loss=symile, whose other candidates are random tuples",
        ),
        ("siglip", {"normalize": False}, "loss.normalize=False means nothing with loss=siglip"),
        (
            "norms",
            {"mask": "sigmoid", "scale_init": "auto"},
            "loss.scale_init=auto means nothing with loss.mask=sigmoid",
        ),
        ("norms", {"mask": "sigmoid", "axes": "first"}, "loss.axes=first means nothing with loss.mask=sigmoid"),
        (
            "norms",
            {"mask": "sigmoid", "evaluation": "lines"},
            "loss.evaluation=lines is not exact for loss.mask=sigmoid",
        ),
        (
            "norms",
            {"targets": "soft", "evaluation": "lines"},
            "loss.evaluation=lines is not exact for loss.targets=soft",
        ),
        ("norms", {"mask": "raw", "reduction": "sum"}, "loss.reduction=sum means nothing with loss.mask=raw"),
        ("norms", {"mask": "learned", "batch_size": 4}, "views=None is not enough for loss.mask=learned"),
        ("norms", {"mask": "learned", "views": 4}, "batch_size=None is not enough for loss.mask=learned"),
        ("norms", {"mask": "extremes", "views": 13}, "views=13 is too many for loss.mask=extremes"),
        (
            "norms",
            {"targets": "soft", "views": 6, "batch_size": 128},
            r"data.batch_size=128 .* needs 128\^6 tuples; allowed: 35 or less",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(name, options, text):
    with pytest.raises(ValueError, match=text) as raised:
        check_options(name, **options)
    assert len(str(raised.value).splitlines()) <= 2


def test_a_loss_is_refused_for_the_same_reasons():
    with pytest.raises(ValueError, match=r"loss.axes=first means nothing with loss=stock"):
        make_loss("stock", axes="first")


def test_a_loss_that_reads_two_views_says_so():
    assert make_loss("stock").reads == make_loss("base").reads == 2
    assert make_loss("normsvc").reads is None
    assert make_loss("stock", views=6).notices == (
        "loss=stock reads the first 2 of 6 views; the others are not computed",
    )
    assert make_loss("stock", views=2).notices == make_loss("norms", views=6).notices == ()
