import functools
from pathlib import Path

import numpy as np
import pytest

from rowscan.datasets.digits import Split, load_digits
from rowscan.metrics import score_digits
from rowscan.recipes import LSTMRecipe, change, find
from rowscan.training.calibration import calibrate
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import DigitEngine, predict_proba


@pytest.fixture(scope="module")
def held_out(tiny: Path) -> Split:
    return load_digits(tiny).test


Weights = dict[str, np.ndarray]

SMALL = change(find("lstm-rows", LSTMRecipe), {"hidden": 16, "engine": "numpy", "batch_size": 20})


@pytest.fixture(scope="module")
def weights(tiny: Path) -> Weights:
    """The weights of an LSTM after a few epochs."""
    engine = create(SMALL)
    train = load_digits(tiny).train
    engine.load_images(train.images, train.labels)
    for epoch in range(3):
        for batch in engine.order(epoch):
            engine.step(batch, 0.02)
    return engine.weights()


def trained(weights: Weights, sharpness: float) -> DigitEngine:
    """An engine with these weights, its logits times `sharpness`."""
    engine = create(SMALL)
    heads = {name: weights[name] * np.float32(sharpness) for name in ("head.weight", "head.bias")}
    engine.load_weights(weights | heads)
    return engine


def loss(engine: DigitEngine, held_out: Split, _temperature: float) -> float:
    return score_digits(predict_proba(engine, held_out.images), held_out.labels).nll


def test_calibration_does_not_depend_on_the_scale_of_the_logits(
    weights: Weights, held_out: Split
) -> None:
    """The calibrated probabilities are the same for every initial scale."""
    answers = []
    for sharpness in (0.7, 1.0, 2.5):
        engine = trained(weights, sharpness)
        before = predict_proba(engine, held_out.images)
        record = calibrate(engine, functools.partial(loss, engine, held_out))
        after = predict_proba(engine, held_out.images)
        np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
        assert record["nll_before"] == pytest.approx(score_digits(before, held_out.labels).nll)
        assert record["nll_after"] == pytest.approx(score_digits(after, held_out.labels).nll)
        answers.append(after)
    np.testing.assert_allclose(answers[1], answers[0], atol=5e-3)
    np.testing.assert_allclose(answers[2], answers[0], atol=5e-3)


def test_prior_ratio_rescales_the_last_class(weights: Weights, held_out: Split) -> None:
    """Bayes' rule on the probabilities, at any temperature."""
    engine = trained(weights, 1.0)
    record = calibrate(engine, functools.partial(loss, engine, held_out), prior_ratio=0.25)
    after = predict_proba(engine, held_out.images)
    calibrated = engine.weights()
    calibrated["head.bias"][-1] -= np.log(0.25)
    engine.load_weights(calibrated)
    before = predict_proba(engine, held_out.images)
    expected = before * ([1.0] * 9 + [0.25])
    np.testing.assert_allclose(after, expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert record["no_digit_odds"] == 0.25


def test_a_random_network_becomes_unsure(held_out: Split) -> None:
    engine = create(change(find("lstm-rows", LSTMRecipe), {"hidden": 8, "engine": "numpy"}))
    rng = np.random.default_rng(1)
    first = engine.weights()
    noise = {"head.weight": rng.normal(0, 5, first["head.weight"].shape).astype(np.float32)}
    engine.load_weights(first | noise)
    record = calibrate(engine, functools.partial(loss, engine, held_out))
    assert record["temperature"] > 3.5
    assert record["nll_after"] < record["nll_before"]
