import functools
import json
import math
import statistics
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowscan.errors import DataError
from rowscan.metrics import (
    Verdict,
    edit_distance,
    judge,
    low_fence,
    runs_reaching,
    score_digits,
    score_numbers,
    wilson,
)

Z = 1.959963984540054  # the 97.5% point of the normal distribution, from a table


def answer(digit: int, confidence: float) -> list[float]:
    """Probabilities that give `digit` its confidence and share the rest equally."""
    return [confidence if d == digit else (1 - confidence) / 9 for d in range(10)]


def four_answers() -> tuple[np.ndarray, np.ndarray]:
    """Right at 0.91 and 0.82; 3 taken for 8 at 0.64; 3 right at 0.55."""
    rows = [answer(0, 0.91), answer(1, 0.82), answer(8, 0.64), answer(3, 0.55)]
    return np.array(rows), np.array([0, 1, 3, 3])


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sharpness = draw(st.sampled_from([0.0, 0.5, 3.0, 40.0]))
    scores = np.exp(sharpness * rng.normal(size=(n, 10)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    labels = rng.integers(0, 10, n).astype(draw(st.sampled_from([np.uint8, np.int64])))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(dtype), labels


def naive_ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, one image at a time."""
    total = 0.0
    for m in range(1, 16):
        members = []
        for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
            confidence = max(row)
            if (m - 1) / 15 < confidence <= m / 15 or (m == 15 and confidence > 1):
                members.append((confidence, row.index(confidence) == label))
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(right for _, right in members) / len(members)
            total += len(members) / len(labels) * abs(accuracy - confidence)
    return total


def test_four_answers_worked_by_hand() -> None:
    result = score_digits(*four_answers())
    assert (result.n, result.correct, result.accuracy, result.error_rate) == (4, 3, 0.75, 0.25)
    # Each answer is alone in its bin: (0.09 + 0.18 + 0.64 + 0.45) / 4.
    assert result.ece == pytest.approx(0.34, abs=1e-12)
    nll = -(math.log(0.91) + math.log(0.82) + math.log(0.04) + math.log(0.55)) / 4
    assert result.nll == pytest.approx(nll, abs=1e-12)
    # A right answer at c: (1-c)² + (1-c)²/9. The wrong one: 0.64² + 0.96² + 8 · 0.04².
    brier = ((0.09**2 + 0.18**2 + 0.45**2) * 10 / 9 + 0.64**2 + 0.96**2 + 8 * 0.04**2) / 4
    assert result.brier == pytest.approx(brier, abs=1e-12)
    confusion = np.zeros((10, 10), int)
    confusion[0, 0] = confusion[1, 1] = confusion[3, 3] = confusion[3, 8] = 1
    np.testing.assert_array_equal(result.confusion, confusion)


def test_bins_hold_what_lies_in_them() -> None:
    bins = score_digits(*four_answers()).bins
    assert len(bins) == 15
    assert {place: bar.n for place, bar in enumerate(bins) if bar.n} == {8: 1, 9: 1, 12: 1, 13: 1}
    assert [bins[8].confidence, bins[8].accuracy] == pytest.approx([0.55, 1.0])
    assert [bins[9].confidence, bins[9].accuracy] == pytest.approx([0.64, 0.0])
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    bins = score_digits(np.array([answer(2, 0.6), answer(2, 1.0)]), np.array([2, 2])).bins
    assert [bar.n for bar in bins] == [0] * 8 + [1] + [0] * 5 + [1]  # 0.6 = 9/15


def test_equal_probabilities_answer_the_lowest_digit_and_cost_ln_10() -> None:
    result = score_digits(np.full((1, 10), 0.1), np.array([7]))
    assert result.confusion[7, 0] == 1
    assert result.nll == pytest.approx(math.log(10))
    assert result.brier == pytest.approx(0.9)


def test_a_certain_mistake_costs_no_more_than_the_clip() -> None:
    result = score_digits(np.array([answer(4, 1.0)]), np.array([9]))
    assert result.nll == pytest.approx(12 * math.log(10))
    assert result.brier == pytest.approx(2)


@given(answers())
def test_calibration_error_is_that_of_a_plain_loop(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert score_digits(*drawn).ece == pytest.approx(naive_ece(*drawn), abs=1e-9)


@given(answers(), st.randoms(use_true_random=False))
def test_figures_agree_and_do_not_depend_on_the_order_of_images(drawn, random) -> None:  # type: ignore[no-untyped-def]
    probabilities, labels = drawn
    result = score_digits(probabilities, labels)
    assert result.confusion.sum() == result.n == sum(bar.n for bar in result.bins)
    assert np.trace(result.confusion) == result.correct
    assert result.confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=10).tolist()
    assert result.interval[0] <= result.accuracy <= result.interval[1]
    assert 0 <= result.ece <= 1
    assert 0 <= result.brier <= 2
    order = list(range(len(labels)))
    random.shuffle(order)
    again = score_digits(probabilities[order], labels[order])
    np.testing.assert_array_equal(again.confusion, result.confusion)
    assert again.ece == pytest.approx(result.ece, abs=1e-9)
    assert again.nll == pytest.approx(result.nll, abs=1e-9)


@given(st.data())
def test_interval_ends_solve_the_score_equation(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 100_000))
    correct = data.draw(st.integers(0, n))
    low, high = wilson(correct, n)
    share = correct / n
    for end, side in ((low, 1), (high, -1)):
        distance = Z * math.sqrt(end * (1 - end) / n)
        assert side * (share - end) == pytest.approx(distance, abs=1e-9)
    assert 0 <= low < high <= 1


def test_interval_of_wilson_at_the_limits_is_closed_and_not_empty() -> None:
    # With p̂ = 1 the equation 1 - p = z sqrt(p (1-p) / n) gives p = n / (n + z²).
    assert list(wilson(10, 10)) == pytest.approx([10 / (10 + Z * Z), 1.0])
    assert list(wilson(0, 10)) == pytest.approx([0.0, Z * Z / (10 + Z * Z)])


def test_dict_goes_through_json_unchanged() -> None:
    result = score_digits(*four_answers()).to_dict()
    assert json.loads(json.dumps(result)) == result
    assert (result["n"], result["accuracy"], result["error_rate"]) == (4, 0.75, 0.25)
    assert result["ece"] == pytest.approx(0.34)
    assert result["confusion"][3][8] == 1


def test_text_shows_the_figures_in_aligned_columns() -> None:
    probabilities, labels = four_answers()
    low, high = wilson(3 * 400, 4 * 400)
    many = score_digits(np.tile(probabilities, (400, 1)), np.tile(labels, 400))
    lines = many.to_text().splitlines()
    assert lines[0] == f"accuracy     75.00%  (95% interval {low:.2%} to {high:.2%})"
    assert lines[1] == "wrong        400 of 1,600"
    assert "ECE 34.00%" in lines[2]
    table = lines[-10:]
    assert table[3].split() == ["3", "|", *"...", "400", *"....", "400", ".", "50.0%"]
    assert table[5].split()[-1] == "-"  # no 5 among the images
    assert len({len(line) for line in table}) == 1
    heads = lines[-12]
    assert heads.index("3") == table[3].index("400") + 2
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("probabilities", "labels", "reason"),
    [
        (np.empty((0, 10)), np.empty(0, np.uint8), "no images"),
        (np.full((1, 10), 0.1), np.array([10]), "got 10"),
        (np.full((1, 10), 0.1), np.array([-1]), "got -1"),
        (np.array([[0.1] * 10, [1.0] * 10]), np.array([0, 0]), "row 1:"),
        (np.array([[1.5, -0.5] + [0.0] * 8]), np.array([0]), "row 0:"),
        (np.full((1, 10), np.nan), np.array([0]), "row 0:"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    probabilities: np.ndarray, labels: np.ndarray, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        score_digits(probabilities, labels)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_of_no_share(correct: int, n: int) -> None:
    with pytest.raises(DataError):
        wilson(correct, n)


@pytest.mark.parametrize(
    ("published", "measured", "verdict", "reaching"),
    [
        (0.96, [0.961], "reached", 1),  # of one run nobody can say whether it is typical
        (0.96, [0.96], "reached", 1),
        (0.96, [0.9595], "missed", 0),
        (0.96, [0.959, 0.960, 0.961], "typical", 2),
        (0.96, [0.9585, 0.9595, 0.9605], "lucky", 1),
        (0.9606, [0.9585, 0.9595, 0.9605], "none", 0),  # within two deviations of the mean
        (0.9623, [0.9599, 0.9580, 0.7804], "none", 0),  # 89.94% ± 10.30: a wide spread saves none
        (0.96, [0.9595, 0.9605], "typical", 1),  # the median of two is their mean
        (0.96, [0.9594, 0.9605], "lucky", 1),
        (0.96, [0.1, 0.97, 0.97], "typical", 2),  # a run that breaks condemns no claim
        (0.5, [0.97, 0.98], "typical", 2),
        (0.3, [0.1 + 0.2 - 1e-12], "reached", 1),  # floating point decides nothing
        (0.3, [0.1 + 0.2 - 1e-12] * 3, "typical", 3),
        (0.96, [0.95995] * 3, "none", 0),
    ],
)
def test_verdicts_worked_by_hand(
    published: float, measured: list[float], verdict: Verdict, reaching: int
) -> None:
    assert judge(published, measured, images=10_000) == verdict
    assert runs_reaching(published, measured, images=10_000) == reaching


@pytest.mark.parametrize(
    ("accuracies", "images", "fence"),
    [
        ([], 100, None),
        ([0.9, 0.1], 100, None),
        # Median 0.9; the standard error of a share of 0.9 among 100 is 0.03.
        ([0.9, 0.9, 0.9], 100, 0.81),
        ([0.9, 0.9, 0.1], 100, 0.81),
        # Median 0.9, deviations 0, 0.01, 0.02: too little beside 0.03, enough beside 0.003.
        ([0.9, 0.91, 0.88], 100, 0.81),
        ([0.9, 0.91, 0.88], 10_000, 0.9 - 3 * 1.482602218505602 * 0.01),
        # Two of five break; the deviations are 0, 0.001, 0.002, 0.4, 0.8.
        ([0.9, 0.5, 0.902, 0.1, 0.901], 1_000_000, 0.9 - 3 * 1.482602218505602 * 0.002),
        ([1.0] * 20, 1, 1.0),
    ],
)
def test_fences_worked_by_hand(accuracies: list[float], images: int, fence: float | None) -> None:
    assert low_fence(accuracies, images) == (fence if fence is None else pytest.approx(fence))


def test_nothing_is_judged_without_a_measurement() -> None:
    for call in (judge, runs_reaching):
        with pytest.raises(DataError, match="0 runs"):
            call(0.96, [], 2000)
        with pytest.raises(DataError, match="0 images"):
            call(0.96, [0.96], 0)
    with pytest.raises(DataError, match="got 0"):
        low_fence([0.96] * 3, 0)


RUNS = st.lists(st.integers(0, 10_000), min_size=1, max_size=20)  # right answers of 10,000
BETTER = {name: rank for rank, name in enumerate(["none", "lucky", "typical"])}


@given(RUNS, st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_runs_decides_nothing(
    right: list[int], published: int, random: Random
) -> None:
    accuracies = [count / 10_000 for count in right]
    shuffled = random.sample(accuracies, len(accuracies))
    claim = published / 10_000
    assert judge(claim, shuffled, 10_000) == judge(claim, accuracies, 10_000)
    assert low_fence(shuffled, 10_000) == low_fence(accuracies, 10_000)


@given(
    st.lists(st.integers(4_000, 6_000), min_size=2, max_size=20),
    st.integers(4_000, 6_000),
    st.integers(2, 4),
)
def test_a_wider_spread_makes_no_claim_typical(
    right: list[int], published: int, factor: int
) -> None:
    middle = statistics.median(right)
    wider = [middle + factor * (count - middle) for count in right]
    verdicts = [
        judge(published / 10_000, [count / 10_000 for count in runs], 10_000)
        for runs in (right, wider)
    ]
    assert (verdicts[0] == "typical") == (verdicts[1] == "typical")
    assert BETTER[verdicts[1]] >= BETTER[verdicts[0]]  # it can only make a lucky run luckier


@given(RUNS, st.integers(0, 9_999), st.integers(1, 100))
def test_a_higher_claim_is_no_easier_to_reach(right: list[int], claim: int, more: int) -> None:
    accuracies = [count / 10_000 for count in right]
    easy, hard = claim / 10_000, (claim + more) / 10_000
    reaching = runs_reaching(easy, accuracies, 10_000)
    assert runs_reaching(hard, accuracies, 10_000) <= reaching
    assert reaching == sum(count >= claim for count in right)
    if len(right) > 1:
        verdict = judge(easy, accuracies, 10_000)
        assert BETTER[judge(hard, accuracies, 10_000)] <= BETTER[verdict]
        assert (verdict == "none") == (reaching == 0)
        assert verdict != "typical" or 2 * reaching >= len(right)


@given(st.lists(st.integers(9_500, 9_700), min_size=3, max_size=19), st.data())
def test_runs_that_break_do_not_hide_one_another(right: list[int], data: st.DataObject) -> None:
    """As many as are fewer than the good ones may break, however far: each is an outlier."""
    broken = data.draw(st.lists(st.integers(0, 3_000), max_size=(len(right) - 1) // 2))
    accuracies = [count / 10_000 for count in right + broken]
    fence = low_fence(accuracies, 10_000)
    assert fence is not None
    outliers = [accuracy for accuracy in accuracies if accuracy < fence]
    assert len(outliers) < len(accuracies) / 2
    assert sorted(outliers)[: len(broken)] == sorted(count / 10_000 for count in broken)


@given(st.text("012", max_size=6), st.text("012", max_size=6))
def test_edit_distance_is_that_of_its_definition(a: str, b: str) -> None:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    assert edit_distance(a, b) == distance(len(a), len(b))


def test_numbers_by_hand() -> None:
    result = score_numbers(["12", "", "4071", "5"], ["12", "7", "4017", "5"], [1.0, 0.5, 0.8, 0.9])
    assert (result.n, result.correct, result.exact) == (4, 2, 0.5)
    assert result.interval == wilson(2, 4)
    assert result.cer == pytest.approx((1 + 2) / 8)
    assert result.ece == pytest.approx((0.0 + 0.5 + 0.8 + 0.1) / 4)
    assert set(result.to_dict()) >= {"n", "exact", "cer"}
    assert "exact        50.00%" in result.to_text()


def test_numbers_need_a_truth_each() -> None:
    with pytest.raises(DataError):
        score_numbers([], [], [])
    with pytest.raises(DataError):
        score_numbers(["1"], ["1", "2"], [1.0])
