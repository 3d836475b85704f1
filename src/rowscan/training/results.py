"""Results: what a complete run measured, as values. Nothing is computed here."""

from dataclasses import dataclass, field

import msgspec
import numpy as np

from rowscan.datasets.labelled import Doubt
from rowscan.metrics import DigitResult, NumberResult


@dataclass(frozen=True)
class Sample:
    """One prediction beside the truth."""

    image: int
    """Its number among the test images, from 0."""
    answer: int
    truth: int


@dataclass(frozen=True, eq=False, kw_only=True)
class DigitRunResult(DigitResult):
    """The test of a network that reads single digits."""

    seconds: float
    """Time of the training, with the measurements in it."""
    samples: tuple[Sample, ...] = ()
    published_n: int | None = None
    """Test images that the published claim is about, and"""
    published_accuracy: float | None = None
    """the accuracy on these."""


@dataclass(frozen=True, kw_only=True)
class DocumentsGain:
    """How well a user's pictures that were held out are read, before the training and after."""

    n: int
    """Pictures held out."""
    left_out: int
    """Pictures that were not trained on because none of their lines shows their label."""
    after: NumberResult
    before: NumberResult | None = None
    """None where the training started from new weights."""
    doubts: tuple[Doubt, ...] = ()
    """Labels that are likely to be wrong. Pictures whose label lacks zeros are left out."""
    share: float = 1.0
    """How much of the change of the weights was kept, 0 to 1: more would have lost too many
    composed lines."""


@dataclass(frozen=True)
class KindResult:
    """How well the lines of one kind were read."""

    kind: str
    """As `synthesis.texts` calls it."""
    n: int
    exact: float


@dataclass(frozen=True, kw_only=True)
class LineRunResult(NumberResult):
    """The test of a network that reads lines."""

    seconds: float
    """Time of the training, with the measurements in it."""
    accuracy: float = field(default=0.0)
    """The same as `exact`."""
    documents: DocumentsGain | None = None
    kinds: tuple[KindResult, ...] = ()
    """The same test lines by what they show."""


@dataclass(frozen=True, kw_only=True)
class PageRunResult:
    """The test of a network that takes pages apart."""

    n: int
    """Pages, composed of test digits."""
    ink_overlap: float
    """Intersection over union of the pixels called ink, mean over batches of pages, and"""
    band_overlap: float
    """of the cells called band of a line."""
    accuracy: float
    """The same as `ink_overlap`."""
    seconds: float
    """Time of the training, with the measurements in it."""


RunResult = DigitRunResult | LineRunResult | PageRunResult


def encode(result: RunResult) -> bytes:
    """The result as JSON."""
    return msgspec.json.format(msgspec.json.encode(result, enc_hook=np.ndarray.tolist))


def decode(content: bytes, kind: type[RunResult]) -> RunResult:
    """The result of a run from its JSON.

    Raises:
        msgspec.DecodeError: not such a result.
    """
    return msgspec.json.decode(content, type=kind, dec_hook=lambda _, rows: np.array(rows))
