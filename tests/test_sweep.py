"""The sweep network against its equations, and the model file against the network."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rowscan
from rowscan.datasets.digits import load_digits
from rowscan.errors import UsageError
from rowscan.recipes import DigitRecipe, SweepRecipe, change, decode, find
from rowscan.training.engines.factory import create
from rowscan.training.engines.sweep import SweepClassifier, SweepLayer
from rowscan.training.engines.torch import DigitsOnDevice, TorchEngine
from rowscan.training.loop import train

RNG = np.random.default_rng(0)
SMALL: dict[str, Any] = {"hidden": 16, "layers": 1, "batch_size": 32}


def test_the_receptive_field_of_a_layer_is_a_row_and_a_column() -> None:
    torch.manual_seed(0)
    layer = SweepLayer(6)
    x = torch.randn(7, 7, 1, 6)
    changed = x.clone()
    changed[2, 4, :, 0] += 1
    with torch.no_grad():
        differs = (layer(x) - layer(changed)).abs().amax((2, 3)) > 0
    want = torch.zeros(7, 7, dtype=torch.bool)
    want[2], want[:, 4] = True, True
    assert torch.equal(differs, want)


def test_the_receptive_field_of_two_layers_is_the_image() -> None:
    torch.manual_seed(0)
    network = SweepClassifier(features=16, steps=49, width=6, layers=2, classes=10)
    x = torch.randn(49, 1, 16, requires_grad=True)
    # The head reads one patch only: gradients of the others come through the sweeps.
    with torch.no_grad():
        network.head.weight[:, 6:] = 0
    network(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum((1, 2)) > 0).all()


def test_the_shipped_recipe_has_under_a_million_weights() -> None:
    assert (
        sum(weight.size for weight in create(find("sweep", SweepRecipe), "cpu").weights().values())
        < 10**6
    )


@pytest.mark.parametrize("key", ["optimizer", "clip", "augmentation", "negatives"])
def test_settings_for_torch_alone_are_rejected_by_other_engines(key: str) -> None:
    values = {"engine": "numpy", key: getattr(find("sweep", SweepRecipe), key)}
    with pytest.raises(UsageError, match=f"{key}.* needs engine=torch"):
        change(find("lstm-rows"), values)


def test_augmentation_depends_on_the_batch_alone() -> None:
    """Random draws are no state of the engine, so a training can be resumed anywhere."""
    images = RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = RNG.integers(0, 10, 60, dtype=np.uint8)
    batches = [RNG.permutation(60)[:20] for _ in range(4)]

    def fresh() -> Any:
        engine = create(change(find("sweep", SweepRecipe), SMALL), "cpu")
        engine.load_images(images, labels)
        return engine

    whole = fresh()
    losses = [whole.step(batch, 0.01) for batch in batches]
    first, second = fresh(), fresh()
    for batch in batches[:2]:
        first.step(batch, 0.01)
    second.load_state(first.state())
    assert [second.step(batch, 0.01) for batch in batches[2:]] == losses[2:]


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small sweep trained with negatives, without augmentation: bars are not strokes."""
    output = tmp_path_factory.mktemp("sweep") / "run"
    changes = SMALL | {"augmentation": "none", "epochs": 8, "learning_rate": 0.02}
    return train("sweep", data=tiny, output=output, quiet=True, **changes)


def test_the_model_file_reproduces_the_tested_accuracy(run: Any, tiny: Path) -> None:
    test = load_digits(tiny).test
    reader = rowscan.Reader(run.directory)
    labels, probabilities = reader.classify(test.images)
    assert (labels == test.labels).mean() == run.result.accuracy > 0.95
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    calibration: dict[str, Any] = {**reader.digit_model.calibration}
    assert calibration["method"] == "temperature"
    assert calibration["nll_after"] <= calibration["nll_before"]


def test_negatives_get_a_low_confidence(run: Any, tiny: Path) -> None:
    reader = rowscan.Reader(run.directory)
    digits = reader.predict_proba(load_digits(tiny).test.images).max(1)
    assert np.median(digits) > 0.9
    noise = RNG.integers(0, 256, (100, 28, 28), dtype=np.uint8)
    assert np.median(reader.predict_proba(noise).max(1)) < 0.3
    assert reader.predict_proba(np.zeros((1, 28, 28), np.uint8)).max() < 0.5


def test_belief_reveals_the_image_row_by_row(run: Any, tiny: Path) -> None:
    reader = rowscan.Reader(run.directory)
    assert reader.digit_model.belief_scan == "rows"
    image = load_digits(tiny).test.images[:2]
    belief = reader.belief(image)
    assert belief.shape == (2, 28, 10)
    np.testing.assert_allclose(belief[:, -1], reader.predict_proba(image), atol=1e-6)
    other = image.copy()
    other[:, 10:] = 255 - other[:, 10:]
    np.testing.assert_array_equal(reader.belief(other)[:, :10], belief[:, :10])
    assert reader.belief(image[:0]).shape == (0, 28, 10)


def test_every_field_of_the_recipe_is_recorded_in_the_model(run: Any) -> None:
    assert decode(rowscan.Reader(run.directory).digit_model.recipe) == run.recipe


@pytest.mark.parametrize("name", ["sweep", "sprint", "lstm-rows-b64"])
def test_the_path_of_a_gpu_gives_batches_and_steps(name: str) -> None:
    """Without graphs, which the CPU has not: sizes, order, and that a network learns."""
    changes = {"hidden": 8, "batch_size": 40} | (
        {"compiled": False} if name == "lstm-rows-b64" else {"layers": 1}
    )
    engine = TorchEngine(change(find(name, DigitRecipe), changes), "cpu")
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.zeros((100, 28, 28), np.uint8)
    images[np.arange(100), 4:24, 2 * labels + 4] = 255
    engine.load_images(images, labels)
    engine._captures = True
    batches = [batch for epoch in range(12) for batch in engine.order(epoch)]
    with contextlib.closing(engine.feed(iter(batches))) as fed:
        losses = []
        for indices, batch in zip(batches, fed, strict=True):
            assert isinstance(batch, DigitsOnDevice)
            assert len(batch) == len(indices)
            np.testing.assert_array_equal(batch.labels[: len(batch)], labels[indices])
            assert (batch.labels[len(batch) :] == 10).all()
            losses.append(float(engine.step(batch, 0.01)[0]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
