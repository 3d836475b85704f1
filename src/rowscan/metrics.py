"""Figures about answers: accuracy with its interval, calibration, confusion; verdicts on claims.

It sees probabilities and true labels; it knows nothing of models, files or training.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, median
from typing import Any, Literal

import numpy as np

from rowscan.arrays import Bool, Float, Float64, Int64, Integer
from rowscan.errors import DataError
from rowscan.reading import SURE

BINS = 15
"""Equal-width bins of confidence, as in Guo et al. 2017."""


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in `(low, high]`: one bar of a reliability diagram."""

    low: float
    high: float
    n: int
    confidence: float | None
    """Mean confidence of its answers; None where there are none."""
    accuracy: float | None
    """Share of its answers that are correct; None where there are none."""


@dataclass(frozen=True, eq=False)
class DigitResult:
    """Accuracy and calibration on single digits."""

    n: int
    """Images."""
    correct: int
    """Images whose most probable digit is the true one."""
    accuracy: float
    """Share of correct answers, 0 to 1."""
    error_rate: float
    """Share of wrong answers, 0 to 1."""
    interval: tuple[float, float]
    """95% interval of the accuracy (Wilson 1927)."""
    ece: float
    """Expected calibration error, 0 to 1, over 15 equal-width bins (Guo et al. 2017)."""
    nll: float
    """Mean negative log-likelihood of the true digit in nats, probabilities clipped at 1e-12."""
    brier: float
    """Mean squared distance to the one-hot truth, summed over digits: 0 to 2 (Brier 1950)."""
    confusion: Int64[np.ndarray, "10 10"]
    """Counts: a row is the truth, a column the answer."""
    bins: tuple[Bin, ...]
    """The bars of the reliability diagram."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as numbers, lists and dicts for JSON."""
        return {
            "n": self.n,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "error_rate": self.error_rate,
            "interval": list(self.interval),
            "ece": self.ece,
            "nll": self.nll,
            "brier": self.brier,
            "confusion": self.confusion.tolist(),
            "bins": [asdict(bar) for bar in self.bins],
        }

    def to_text(self) -> str:
        """The figures as lines for a terminal, with the confusion table aligned."""
        low, high = self.interval
        lines = [
            f"accuracy     {self.accuracy:.2%}  (95% interval {low:.2%} to {high:.2%})",
            f"wrong        {self.n - self.correct:,} of {self.n:,}",
            f"calibration  ECE {self.ece:.2%}, NLL {self.nll:.4f} nats, Brier {self.brier:.4f}",
            "",
        ]
        width = max(4, len(str(self.confusion.max())) + 2)
        answers = "".join(f"{digit:>{width}}" for digit in range(10))
        lines.append(f"      |{'answer':>{5 * width + 3}}")
        lines.append(f"truth |{answers}   correct")
        lines.append(f"------+{'-' * (10 * width + 10)}")
        for digit, row in enumerate(self.confusion.tolist()):
            cells = "".join(f"{count or '.':>{width}}" for count in row)
            share = f"{row[digit] / sum(row):.1%}" if any(row) else "-"
            lines.append(f"{digit:>5} |{cells}{share:>10}")
        return "\n".join(lines)


def score_digits(
    probabilities: Float[np.ndarray, "n 10"], labels: Integer[np.ndarray, " n"]
) -> DigitResult:
    """Compare the probabilities of ten digits with the true digits.

    The answer is the most probable digit, the lowest of several equally probable ones.

    Args:
        probabilities: one row an image, each summing to 1.
        labels: the true digits, 0 to 9.

    Raises:
        DataError: no images, a label outside 0 to 9, or a row that is not a distribution.
    """
    n = len(labels)
    if n == 0:
        raise DataError(None, "no images to evaluate")
    if labels.min() < 0 or labels.max() > 9:
        wrong = labels[(labels < 0) | (labels > 9)][0]
        raise DataError(None, f"expected labels from 0 to 9, got {wrong}")
    p = probabilities.astype(np.float64)
    proper = (p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) < 1e-3)  # also false for NaN
    if not proper.all():
        raise DataError(None, f"row {int(np.argmin(proper))}: expected probabilities that sum to 1")

    every = np.arange(n)
    answers = p.argmax(axis=1)
    right = answers == labels
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    truth = np.zeros_like(p)
    truth[every, labels] = 1
    bins = _reliability(p.max(axis=1), right)
    correct = int(right.sum())
    return DigitResult(
        n=n,
        correct=correct,
        accuracy=correct / n,
        error_rate=(n - correct) / n,
        interval=wilson(correct, n),
        ece=_ece(bins),
        nll=float(-np.log(np.clip(p[every, labels], 1e-12, 1)).mean()),
        brier=float(((p - truth) ** 2).sum(axis=1).mean()),
        confusion=confusion,
        bins=bins,
    )


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% score interval of a share of `correct` among `n` (Wilson 1927).

    Unlike the share ± 2 standard errors, it stays within 0 and 1 and is not empty at 100%.

    Raises:
        DataError: `n` is not positive, or `correct` is outside 0 to `n`.
    """
    if n < 1 or not 0 <= correct <= n:
        raise DataError(None, f"expected 0 to n correct of n > 0, got {correct} of {n}")
    z = NormalDist().inv_cdf(0.975)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == n else (centre + half) / scale
    return low, high


Verdict = Literal["typical", "lucky", "none", "reached", "missed"]
"""Who reaches a published accuracy: the typical run (the median), only a lucky one, or none.

Of a single run nobody can say whether it is typical: it has `reached` the figure or `missed` it.
"""


def judge(published: float, measured: Sequence[float], images: int) -> Verdict:
    """Which of our runs reach a published accuracy. How far they scatter does not count.

    Args:
        published: the claimed accuracy, 0 to 1.
        measured: the accuracy of each run, 0 to 1.
        images: the test images that each was measured on.

    Raises:
        DataError: nothing was measured.
    """
    reaching = runs_reaching(published, measured, images)
    if len(measured) == 1:
        return "reached" if reaching else "missed"
    if runs_reaching(published, [median(measured)], images):
        return "typical"
    return "lucky" if reaching else "none"


def runs_reaching(published: float, measured: Sequence[float], images: int) -> int:
    """How many runs reach a published accuracy; arguments and errors are those of `judge`.

    Figures that differ by less than a thousandth of an image are equal, so floating point decides
    nothing.
    """
    if not measured or images < 1:
        raise DataError(None, f"nothing to judge: {len(measured)} runs on {images} images")
    return sum(published - accuracy <= 0.001 / images for accuracy in measured)


def low_fence(accuracies: Sequence[float], images: int) -> float | None:
    """The accuracy below which a run is an outlier, far worse than the typical one.

    It lies three deviations below the median (Leys et al. 2013, doi:10.1016/j.jesp.2013.03.013).
    The deviation is the median absolute deviation times 1.4826, as for a normal distribution, and
    never less than the standard error of one run on its test images. Up to half of the runs may
    be outliers without moving it, where quartiles (Tukey's fences) bear a quarter.

    Returns:
        None for fewer than three runs: of two, nobody can say which is the typical one.

    Raises:
        DataError: there are no images.
    """
    if images < 1:
        raise DataError(None, f"expected at least one image, got {images}")
    if len(accuracies) < 3:
        return None
    middle = median(accuracies)
    mad = median(abs(accuracy - middle) for accuracy in accuracies)
    error = math.sqrt(middle * (1 - middle) / images)
    return middle - 3 * max(mad / NormalDist().inv_cdf(0.75), error)


@dataclass(frozen=True)
class NumberResult:
    """Accuracy and calibration on whole numbers."""

    n: int
    """Images."""
    correct: int
    """Images whose text is exactly the true one."""
    exact: float
    """Share of images whose text is exactly the true one, 0 to 1."""
    interval: tuple[float, float]
    """95% interval of that share (Wilson 1927)."""
    cer: float
    """Character error rate: edits from the texts to the truths, by characters in the truths."""
    ece: float
    """Expected calibration error of the whole texts' confidences, 0 to 1 (Guo et al. 2017)."""
    wrong_and_sure: float = 0.0
    """Share of images whose text is wrong at a confidence of 0.9 and more, 0 to 1."""
    as_written: float | None = None
    """Share of images whose text is exactly what is written, signs included, if known."""
    unreadable: int = 0
    """Images that could not be opened; they are not among the `n`."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as numbers and lists for JSON."""
        return asdict(self) | {"interval": list(self.interval)}

    def to_text(self) -> str:
        """The figures as lines for a terminal."""
        low, high = self.interval
        return "\n".join(
            [
                f"exact        {self.exact:.2%}  (95% interval {low:.2%} to {high:.2%})",
                f"wrong        {self.n - self.correct:,} of {self.n:,}",
                f"characters   error rate {self.cer:.2%}",
                f"calibration  ECE {self.ece:.2%}, wrong and sure {self.wrong_and_sure:.2%}",
                *([] if self.as_written is None else [f"as written   {self.as_written:.2%}"]),
            ]
        )


def score_numbers(
    texts: Sequence[str], truths: Sequence[str], confidences: Sequence[float]
) -> NumberResult:
    """Compare read numbers with the true ones.

    Args:
        texts: what was read.
        truths: what is written.
        confidences: the reader's confidence in each text, 0 to 1.

    Raises:
        DataError: there are no texts, or the three differ in number.
    """
    n = len(texts)
    if n == 0 or not n == len(truths) == len(confidences):
        raise DataError(None, f"{n} texts, {len(truths)} truths, {len(confidences)} confidences")
    right = np.array([text == truth for text, truth in zip(texts, truths, strict=True)])
    edits = sum(edit_distance(text, truth) for text, truth in zip(texts, truths, strict=True))
    correct = int(right.sum())
    bins = _reliability(np.asarray(confidences, np.float64), right)
    return NumberResult(
        n=n,
        correct=correct,
        exact=correct / n,
        interval=wilson(correct, n),
        cer=edits / max(1, sum(map(len, truths))),
        ece=_ece(bins),
        wrong_and_sure=float((~right & (np.asarray(confidences) >= SURE)).mean()),
    )


def edit_distance(text: str, truth: str) -> int:
    """Fewest insertions, deletions and substitutions between two texts (Levenshtein 1966)."""
    row = list(range(len(truth) + 1))
    for i, a in enumerate(text, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(truth, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _ece(bins: Sequence[Bin]) -> float:
    """Mean distance between confidence and accuracy, bins weighted by their number of answers."""
    return sum(
        bar.n * abs(bar.accuracy - bar.confidence)
        for bar in bins
        if bar.accuracy is not None and bar.confidence is not None
    ) / sum(bar.n for bar in bins)


def _reliability(
    confidence: Float64[np.ndarray, " n"], right: Bool[np.ndarray, " n"]
) -> tuple[Bin, ...]:
    """Answers grouped by confidence into `BINS` bins, each open below and closed above."""
    edges = np.arange(BINS + 1) / BINS
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    bars = []
    for place in range(BINS):
        inside = places == place
        n = int(inside.sum())
        bars.append(
            Bin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                n=n,
                confidence=float(confidence[inside].mean()) if n else None,
                accuracy=float(right[inside].mean()) if n else None,
            )
        )
    return tuple(bars)
