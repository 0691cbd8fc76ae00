"""Findings about views: each kind on tensors whose figures are computed by loops over samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from model.health.view_journal import ViewJournal
from model.health.view_recorder import ViewRecorder
from model.health.views import (
    ALIKE_COSINE,
    IDENTICAL_COSINE,
    Finding,
    ViewSample,
    blind_views,
    caption_of,
    collapsed_views,
    comparable_pairs,
    equal_views,
    lines_at_chance,
    mean_cosine,
    relative_ranks,
)

END = 9
NAMES = ("image", "caption_1", "decoded_2", "encoded_2")
ROWS, FEATURES = 12, 5


def texts(*lengths: int) -> Tensor:
    """Returns (R, T) tokens: row r has lengths[r] different words, the end token, and the end token as padding."""
    rows = [[1 + (row + place) % 8 for place in range(length)] for row, length in enumerate(lengths)]
    return torch.tensor([row + [END] * (8 - len(row)) for row in rows])


def noise(*shape: int) -> Tensor:
    """Returns normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sample() -> ViewSample:
    """Twelve samples with two captions of four words each, and independent views."""
    captions = torch.stack([texts(*[4] * ROWS), texts(*[4] * ROWS).roll(1, dims=0)], dim=1)
    return ViewSample(captions, noise(len(NAMES), ROWS, FEATURES))


def cosine(first: Tensor, second: Tensor) -> float:
    """Returns the cosine of two vectors, by its definition."""
    return (
        sum(a * b for a, b in zip(first.tolist(), second.tolist(), strict=True))
        / math.dist(first, 0 * first)
        / math.dist(second, 0 * second)
    )


def test_different_texts_of_one_length_are_compared():
    tokens = torch.cat([texts(3, 3, 5), texts(3)])  # the last text is the first again
    expected = {(i, j) for i in range(4) for j in range(4) if i != j} & {(0, 1), (1, 0), (1, 3), (3, 1)}
    assert set(map(tuple, comparable_pairs(tokens, END).nonzero().tolist())) == expected


def test_the_mean_cosine_is_that_of_the_pairs_that_count():
    view, counted = noise(ROWS, FEATURES), noise(ROWS, ROWS) > 0
    pairs = [cosine(view[i], view[j]) for i in range(ROWS) for j in range(ROWS) if counted[i, j]]
    assert mean_cosine(view, counted) == pytest.approx(sum(pairs) / len(pairs), rel=1e-6)


def test_different_views_give_no_finding(sample):
    assert blind_views(sample, NAMES, END) == []
    assert collapsed_views(sample.views, NAMES) == []
    assert equal_views(sample, NAMES) == []


@pytest.mark.parametrize("constant", [1.0, 0.0])
def test_a_view_that_is_the_same_for_all_texts_is_blind(sample, constant):
    sample.views[[0, 2]] = constant
    (finding,) = blind_views(sample, NAMES, END)
    assert finding.figures == {"decoded_2": pytest.approx(1.0)}, "the image is no view of a text"
    assert "decoded_2" in finding.advice()
    assert "1.0000" in finding.advice()
    assert "backbone.translator_init=fan_in" in finding.advice()


def test_nearly_the_same_is_a_mean_cosine_above_99_percent(sample):
    for spread, blind in ((0.05, True), (0.5, False)):
        sample.views[2] = 1 + spread * noise(ROWS, FEATURES)
        assert bool(blind_views(sample, NAMES, END)) == blind


def test_without_pairs_of_different_texts_of_one_length_there_is_no_finding(sample):
    sample.views[:] = 1.0
    lengths = texts(1, 2, 3, 4, 5, 6, 7)
    assert blind_views(ViewSample(torch.stack([lengths, lengths], dim=1), sample.views[:, :7]), NAMES, END) == []
    same = texts(4).expand(ROWS, -1)
    assert blind_views(ViewSample(torch.stack([same, same], dim=1), sample.views), NAMES, END) == []


def test_a_view_that_depends_on_the_length_alone_is_blind(sample):
    lengths = [2, 5] * (ROWS // 2)
    captions = torch.stack([texts(*lengths), texts(*lengths)], dim=1)
    sample.views[3] = torch.tensor([[1.0, 0, 0, 0, 0] if length == 2 else [0, 1.0, 0, 0, 0] for length in lengths])
    (finding,) = blind_views(ViewSample(captions, sample.views), NAMES, END)
    assert list(finding.figures) == ["encoded_2"]
    assert collapsed_views(sample.views, NAMES) == []


@pytest.mark.parametrize(
    ("spread", "bounds"),
    [
        (0.0, {IDENTICAL_COSINE, ALIKE_COSINE}),
        (1e-5, {IDENTICAL_COSINE, ALIKE_COSINE}),
        (0.05, {ALIKE_COSINE}),
        (0.5, set()),
    ],
)
def test_any_view_may_collapse(sample, spread, bounds):
    sample.views[0] = 1 + spread * noise(ROWS, FEATURES)
    by_bound = {bound: collapsed_views(sample.views, NAMES, bound) for bound in (IDENTICAL_COSINE, ALIKE_COSINE)}
    assert {bound for bound, findings in by_bound.items() if findings} == bounds
    assert all(list(finding.figures) == ["image"] for findings in by_bound.values() for finding in findings)


def test_equal_views_are_named_together(sample):
    sample.views[2] = 3 * sample.views[0]
    (finding,) = equal_views(sample, NAMES)
    assert finding.figures == {"image~decoded_2": pytest.approx(1.0)}


def test_views_of_two_equal_captions_may_be_equal(sample):
    sample.views[2] = sample.views[1]
    assert list(equal_views(sample, NAMES)[0].figures) == ["caption_1~decoded_2"]
    same = sample.captions[:, :1].expand(-1, 2, -1)
    assert equal_views(ViewSample(same, sample.views), NAMES) == []
    half = torch.where(torch.arange(ROWS)[:, None, None] < ROWS // 2, same, sample.captions)
    sample.views[2, ROWS // 2 :] = noise(ROWS // 2, FEATURES) * torch.tensor([1.0, -1, 1, -1, 1])
    assert equal_views(ViewSample(half, sample.views), NAMES) == [], "samples with equal captions do not count"


def test_two_views_of_one_caption_should_differ(sample):
    sample.views[3] = sample.views[2]
    assert list(equal_views(sample, NAMES)[0].figures) == ["decoded_2~encoded_2"]


def test_figures_that_are_not_finite_are_no_finding(sample):
    sample.views[:] = math.nan
    assert blind_views(sample, NAMES, END) == collapsed_views(sample.views, NAMES) == equal_views(sample, NAMES) == []


def test_ranks_are_counted_with_ties_halved():
    lines = torch.tensor([[[1.0, 2.0, 0.0], [5.0, 4.0, 4.0], [1.0, 1.0, 1.0]]])
    assert relative_ranks(lines).tolist() == [[2 / 2, 2.5 / 2, 2 / 2]]


def test_a_line_whose_match_is_any_candidate_is_at_chance():
    lines = noise(2, 64, 64)
    lines[0] += 2 * torch.eye(64)
    findings = lines_at_chance(lines.split(64, dim=1), ("image", "caption_1"))
    assert [list(finding.figures) for finding in findings] == [["caption_1"]]
    ranks = [1 + sum(other > row[place] for other in row) for place, row in enumerate(lines[1].tolist())]
    middle = sorted(ranks)[31:33]
    assert findings[0].figures["caption_1"] == pytest.approx(sum(middle) / 2 / 32.5)
    assert lines_at_chance([torch.zeros(1, 4, 4)], ("image",))[0].figures == {"image": 1.0}, (
        "equal scores do not distinguish candidates"
    )


@pytest.mark.parametrize(
    ("name", "caption"), [("image", None), ("caption_1", 0), ("translated_2", 1), ("encoded_12", 11)]
)
def test_the_caption_of_a_view(name, caption):
    assert caption_of(name) == caption


def test_each_view_is_kept_once_and_logged_once_in_a_span(caplog):
    journal = ViewJournal()
    journal.add([Finding("collapsed_view", {"image": 0.999})], 10)
    journal.add(
        [
            Finding("collapsed_view", {"image": 0.998, "caption_1": 0.995}),
            Finding("equal_views", {"image~caption_1": 1.0}),
        ],
        20,
    )
    assert [(entry["kind"], entry["step"], entry["views"], entry["figures"]) for entry in journal.entries] == [
        ("collapsed_view", 10, ["image"], [0.999]),
        ("collapsed_view", 20, ["caption_1"], [0.995]),
        ("equal_views", 20, ["image~caption_1"], [1.0]),
    ]
    assert [record.message.partition(":")[0] for record in caplog.records] == ["step 10", "step 20"], (
        "advice on collapsed views was given at step 10"
    )
    resumed = ViewJournal()
    resumed.load_state_dict(journal.state_dict())
    resumed.add([Finding("collapsed_view", {"image": 0.999})], 1010)
    assert resumed.entries == journal.entries
    assert [record.message.partition(":")[0] for record in caplog.records][2:] == ["step 1010"]


class TwoViews(nn.Module):
    """An encoder whose second view is twice the first."""

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        return torch.stack([images, 2 * images])


def test_a_recorder_keeps_the_first_rows_and_leaves_no_hook():
    encoder, recorder = TwoViews(), ViewRecorder(rows=5)
    batches = [(noise(3, 4).bfloat16() + number, torch.full((3, 2, 8), number)) for number in range(3)]
    encoder(*batches[2])
    recorder.start(encoder)
    for batch in batches:
        encoder(*batch)
    sample = recorder.finish()
    expected = torch.cat([images for images, _ in batches])[:5].float()
    assert torch.equal(sample.views, torch.stack([expected, 2 * expected]))
    assert sample.captions[:, 0, 0].tolist() == [0, 0, 0, 1, 1]
    assert (recorder.recording, len(encoder._forward_hooks), recorder.finish()) == (False, 0, None)
