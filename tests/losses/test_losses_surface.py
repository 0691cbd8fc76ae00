"""What a caller can rely on: names, files, errors."""

from pathlib import Path

import pytest
import torch

from model.losses import available, make_loss

CONF = Path(__file__).parents[2] / "conf" / "loss"


def test_every_name_has_a_file_whose_first_line_says_what_it_is():
    files = {path.stem: path.read_text().splitlines() for path in CONF.glob("[!_]*.yaml")}
    assert sorted(files) == sorted(available())
    for name, lines in files.items():
        assert "family" in lines[0], name
        assert "product" in lines[0], name
        assert lines[-1] == f"name: {name}"


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
    with pytest.raises(error, match=text):
        make_loss(name)(views, torch.tensor(1.0))


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("norm", {}, "loss=norm is not known; allowed: .*\ndid you mean loss=norms"),
        ("norms", {"targets": "hard"}, "loss.targets=hard is not known; allowed: diagonal"),
        ("norms", {"eps": 0.0}, "loss.eps=0.0 is not positive"),
        ("norms", {"memory_mib": 0}, "loss.memory_mib=0 is too small"),
        ("norms", {"views": 1}, "views=1 is too small"),
        ("stock", {"axes": "first"}, "loss.axes=first means nothing with loss=stock"),
        ("stock", {"evaluation": "dense"}, "loss.evaluation=dense means nothing with loss=stock"),
        ("stock", {"normalize": False}, "loss.normalize=False means nothing with loss=stock"),
    ],
)
def test_options_that_mean_nothing_are_refused(name, options, text):
    with pytest.raises(ValueError, match=text):
        make_loss(name, **options)
