"""What a caller can rely on: names, files, errors."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml

from model.errors import ConfigError
from model.loss_options import OWN, check_scale_init
from model.losses import make_loss
from model.losses.make import check_formula
from model.losses.registry import FORMULAS, RECIPES, Formula, missing_formula, register
from tests import oracles

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "loss"
FILES = {path.stem: path.read_text(encoding="utf-8") for path in CONF.glob("[!_]*.yaml")}
FAMILIES = {name: yaml.safe_load(text)["family"] for name, text in FILES.items()}


def test_every_yaml_has_a_formula():
    sentences = [missing_formula(name, family) for name, family in FAMILIES.items() if family != OWN]
    names = [name for name, family in FAMILIES.items() if family != OWN]
    assert [sentence for name, sentence in zip(names, sentences, strict=True) if name not in FORMULAS] == []


def test_every_formula_has_a_yaml():
    assert [
        f"the formula {formula.name} has no YAML; write conf/loss/{formula.name}.yaml with `name: {formula.name}` and "
        f"`family: {formula.family}`"
        for formula in FORMULAS.values()
        if formula.name not in FILES
    ] == []


def test_every_formula_has_an_oracle():
    table = {"matrix": '`"{name}": lambda x: [...]` in MATRICES'}
    line = '`"{name}": lambda t: ...` in SCORES'
    assert [
        f"{formula.name} has no oracle; write {table.get(formula.family, line).format(name=formula.name)} of "
        f"tests/oracles.py"
        for formula in FORMULAS.values()
        if formula.name not in {*oracles.SCORES, *oracles.MATRICES, *oracles.RANDOM}
    ] == []


@pytest.mark.parametrize("name", sorted(set(FILES) & set(FORMULAS)))
def test_a_yaml_names_itself_and_the_family_of_its_formula(name):
    assert yaml.safe_load(FILES[name])["name"] == name
    assert FAMILIES[name] == FORMULAS[name].family


@pytest.mark.parametrize("name", FILES)
def test_line_1_of_a_yaml_is_the_formula_and_its_cost(name):
    assert re.match(r"# .+\. Cost: .+\.( Old logitsversion -?\d+.*\.)?$", FILES[name].splitlines()[0])


def test_the_defaults_of_make_loss_are_those_of_the_configuration():
    keys = yaml.safe_load((CONF / "_keys.yaml").read_text(encoding="utf-8"))
    parameters = inspect.signature(make_loss).parameters
    shared = set(parameters) & set(keys)
    assert len(shared) >= 8
    assert {key: parameters[key].default for key in shared} == {key: keys[key] for key in shared}


@pytest.mark.parametrize("family", [*RECIPES, "distance"])
def test_a_name_without_a_formula_says_where_to_write_it(family):
    with pytest.raises(ConfigError) as error:
        check_formula("agreement", family)
    assert str(error.value) == missing_formula("agreement", family)
    place = re.search(r"model/losses/[\w/.]+", str(error.value)).group()
    assert (ROOT / place).exists()


@pytest.mark.parametrize("family", [family for family in RECIPES if family != "sampled"])
def test_the_decorator_of_a_recipe_is_in_the_file_that_it_names(family):
    decorator, place = re.match(r"`@(\w+).* in (\S+)$", RECIPES[family]).groups()
    assert re.search(rf"^def {decorator}\(", (ROOT / place).read_text(encoding="utf-8"), flags=re.M)


def test_two_formulas_of_one_name_are_refused():
    with pytest.raises(ValueError, match="loss=norms has two formulas, of the families gram and product"):
        register(Formula("norms", "product", FORMULAS["norms"].score))


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
    with pytest.raises(ValueError, match=text) as error:
        make_loss(name, **options)
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("scale_init", "text"),
    [
        ("auto", "loss.scale_init=auto means nothing with loss.mask=sigmoid"),
        ("high", "loss.scale_init=high is not known; allowed: original, auto"),
    ],
)
def test_a_start_of_the_scale_that_means_nothing_is_refused(scale_init, text):
    with pytest.raises(ConfigError, match=text):
        check_scale_init(scale_init, "sigmoid")


def test_a_loss_that_reads_two_views_says_so():
    assert make_loss("stock").reads == make_loss("base").reads == 2
    assert make_loss("normsvc").reads is None
    assert make_loss("stock", views=6).notices == (
        "loss=stock reads the first 2 of 6 views; the others are not computed",
    )
    assert make_loss("stock", views=2).notices == make_loss("norms", views=6).notices == ()
