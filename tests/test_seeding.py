import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.recipes import LSTMRecipe, MLPRecipe, change, find
from rowscan.training.engines.seeding import draw_batches, initial_weights, numbered_batches


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 90),
    steps=st.integers(1, 12),
    seed=st.integers(0, 99),
    epochs=st.permutations(range(4)),
)
def test_shuffled_passes_are_contiguous(
    n: int, size: int, steps: int, seed: int, epochs: list[int]
) -> None:
    """Epochs of full batches, drawn in any order, concatenate to one shuffle after another."""
    values = {"batch_size": size, "steps_per_epoch": steps, "seed": seed}
    recipe = change(find("lstm-rows-tf", LSTMRecipe), values)
    drawn = {epoch: np.array(list(draw_batches(recipe, n, epoch))) for epoch in epochs}
    assert all(batches.shape == (steps, size) for batches in drawn.values())
    row = np.concatenate([drawn[epoch].reshape(-1) for epoch in range(4)])
    for start in range(0, len(row) - n + 1, n):
        assert sorted(row[start : start + n].tolist()) == list(range(n))
    rest = row[len(row) // n * n :]
    assert len(set(rest.tolist())) == len(rest)


def test_what_is_composed_is_numbered_once_through_all_epochs() -> None:
    drawn = [batch.tolist() for epoch in range(3) for batch in numbered_batches(4, 2, epoch)]
    assert drawn == [list(range(start, start + 4)) for start in range(0, 24, 4)]


def test_the_first_pass_matches_one_pass_per_epoch_and_passes_differ() -> None:
    recipe = change(find("lstm-rows-tf", LSTMRecipe), {"batch_size": 10, "steps_per_epoch": 20})
    row = np.concatenate(list(draw_batches(recipe, 100, 0)))
    one = np.concatenate(list(draw_batches(change(recipe, {"steps_per_epoch": 0}), 100, 0)))
    np.testing.assert_array_equal(row[:100], one)
    assert (row[:100] != row[100:]).any()


def test_sampling_with_replacement_has_the_requested_steps() -> None:
    recipe = change(find("mlp-numpy", MLPRecipe), {"steps_per_epoch": 7})
    assert [len(batch) for batch in draw_batches(recipe, 50, 0)] == [100] * 7


@pytest.mark.parametrize("layers", [1, 2])
def test_glorot_weights_match_tensorflow_1(layers: int) -> None:
    """Uniform kernel (in + hidden, 4 hidden), zero biases except the forget bias, normal head."""
    recipe = change(find("lstm-rows-tf", LSTMRecipe), {"layers": layers})
    weights = initial_weights(recipe)
    for layer, width in enumerate([28 + 128, 128 + 128][:layers]):
        kernel = np.hstack([weights[f"lstm.weight_{part}_l{layer}"] for part in ("ih", "hh")])
        assert kernel.shape == (512, width)
        bound = math.sqrt(6 / (width + 512))
        assert 0.999 * bound < np.abs(kernel).max() <= np.float32(bound)
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert abs(kernel.mean()) < 5 * bound / math.sqrt(3 * kernel.size)
        bias = weights[f"lstm.bias_ih_l{layer}"].reshape(4, 128)  # i, f, g, o
        np.testing.assert_array_equal(bias, np.repeat([[0], [1], [0], [0]], 128, axis=1))
        np.testing.assert_array_equal(weights[f"lstm.bias_hh_l{layer}"], 0)
    assert weights["head.weight"].std() == pytest.approx(1, rel=0.1)
    assert np.abs(weights["head.bias"]).max() > 0.5  # drawn, not zero: fails with P = 1e-4
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_forget_bias_is_added_and_an_untrained_bias_stays_zero() -> None:
    recipe = change(find("lstm-rows", LSTMRecipe), {"engine": "numpy"})
    plain = initial_weights(recipe)
    changed = initial_weights(change(recipe, {"forget_bias": 0.5, "biases": 1}))
    expected = plain["lstm.bias_ih_l0"].copy()
    expected[64:128] += 0.5
    np.testing.assert_array_equal(changed["lstm.bias_ih_l0"], expected)
    np.testing.assert_array_equal(changed["lstm.bias_hh_l0"], 0)
    np.testing.assert_array_equal(changed["head.weight"], plain["head.weight"])
