import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rowscan.errors import ModelError, UsageError
from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe, change, find
from rowscan.training.engines.factory import create
from rowscan.training.engines.torch import TorchEngine

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (150, 28, 28), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 150, dtype=np.uint8)


def small(name: str = "lstm-rows-b64", **changes: object) -> TorchEngine:
    engine = TorchEngine(change(find(name, DigitRecipe), {"hidden": 8} | changes), "cpu")
    engine.load_images(IMAGES, LABELS)
    return engine


def test_weights_and_order_match_the_published_script() -> None:
    """The script: seed, LSTM, Linear, then a shuffling DataLoader for each epoch."""
    torch.manual_seed(1)
    lstm, out = nn.LSTM(28, 64, 1, batch_first=True), nn.Linear(64, 10)
    loader = DataLoader(TensorDataset(torch.arange(150)), batch_size=64, shuffle=True)
    epochs = [[batch.tolist() for (batch,) in loader] for _ in range(3)]

    engine = TorchEngine(find("lstm-rows-b64", LSTMRecipe), "cpu")
    engine.load_images(IMAGES, LABELS)
    weights = engine.weights()
    for name, value in lstm.named_parameters():
        np.testing.assert_array_equal(weights[f"lstm.{name}"], value.detach().numpy())
    np.testing.assert_array_equal(weights["head.weight"], out.weight.detach().numpy())
    np.testing.assert_array_equal(weights["head.bias"], out.bias.detach().numpy())
    for epoch in (2, 0, 1):  # in any order: epochs are independent
        assert [batch.tolist() for batch in engine.order(epoch)] == epochs[epoch]


def test_training_matches_the_published_columns_script() -> None:
    """Time first over columns, pixels to -1..1, two layers, Adadelta: losses step by step."""
    recipe = find("lstm-columns", LSTMRecipe)
    engine = TorchEngine(recipe, "cpu")
    engine.load_images(IMAGES, LABELS)
    torch.manual_seed(recipe.seed)
    lstm, out = nn.LSTM(28, 100, 2), nn.Linear(100, 10)
    optimizer = torch.optim.Adadelta([*lstm.parameters(), *out.parameters()], lr=0.1)
    x = (torch.from_numpy(IMAGES[:, None]).float() / 255 - 0.5) / 0.5
    y = torch.from_numpy(LABELS.astype(np.int64))
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    for epoch in range(2):
        for (images, labels), batch in zip(loader, engine.order(epoch), strict=True):
            output, _ = lstm(images.squeeze(1).permute(2, 0, 1))
            loss = nn.functional.cross_entropy(out(output[-1]), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            assert engine.step(batch, 0.1)[0] == pytest.approx(loss.item(), abs=1e-6)


def test_creating_an_engine_keeps_the_global_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    engine = small()
    list(engine.order(0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["lstm-rows-b64", "lstm-columns", "mlp-numpy"])
def test_resuming_from_state_is_bit_identical(name: str) -> None:
    changes = {"engine": "torch", "hidden": 8, "batch_size": 32}
    whole = small(name, **changes)
    batches = [*whole.order(0), *whole.order(1)]
    for batch in batches:
        whole.step(batch, 0.01)

    first, second = small(name, **changes), small(name, **changes)
    for batch in batches[:3]:
        first.step(batch, 0.01)
    second.load_state(first.state())
    for batch in batches[3:]:
        second.step(batch, 0.01)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[key], value, err_msg=key)


def test_with_one_bias_adam_steps_once() -> None:
    """The other bias stays zero; otherwise each step of Adam would change the sum twice."""
    changes = {"engine": "torch", "batch_size": 30, "steps_per_epoch": 4}
    engine = small("lstm-rows-tf", **changes)
    (batch, *others), first = list(engine.order(0)), engine.weights()
    engine.step(batch, 0.01)
    bias = engine.weights()["lstm.bias_ih_l0"] - first["lstm.bias_ih_l0"]
    np.testing.assert_allclose(np.abs(bias), 0.01, rtol=1e-2)  # the size of Adam's first step
    second = small("lstm-rows-tf", **changes)
    second.load_state(engine.state())
    for one in (engine, second):
        for batch in others:
            one.step(batch, 0.01)
        np.testing.assert_array_equal(one.weights()["lstm.bias_hh_l0"], 0)
    for key, value in engine.state().items():
        np.testing.assert_array_equal(second.state()[key], value, err_msg=key)


def test_forget_bias_is_added_to_torch_initialisation() -> None:
    plain, changed = small().weights(), small(forget_bias=0.5, biases=1).weights()
    expected = plain["lstm.bias_ih_l0"].copy()
    expected[8:16] += 0.5
    np.testing.assert_array_equal(changed["lstm.bias_ih_l0"], expected)
    np.testing.assert_array_equal(changed["lstm.bias_hh_l0"], 0)
    np.testing.assert_array_equal(changed["head.weight"], plain["head.weight"])


def test_the_seed_determines_the_weights() -> None:
    np.testing.assert_array_equal(
        small(seed=3).weights()["head.weight"], small(seed=3).weights()["head.weight"]
    )
    assert (small(seed=3).weights()["head.weight"] != small(seed=4).weights()["head.weight"]).all()


def test_unfit_weights_are_rejected_by_name() -> None:
    engine = small()
    wrong = engine.weights() | {"head.bias": np.zeros(11, np.float32)}
    with pytest.raises(ModelError, match=r"head\.bias"):
        engine.load_weights(wrong)


def test_an_unavailable_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"expected one of: .*cpu"):
        create(find("lstm-rows", LSTMRecipe), "mps")


def test_an_mlp_needs_the_whole_scan() -> None:
    with pytest.raises(UsageError, match="whole"):
        create(change(find("mlp-numpy", MLPRecipe), {"scan": "rows"}))


def test_muon_orthogonalises_updates_of_hidden_matrices() -> None:
    """Jordan 2024: the singular values of G = U S V' pass five times through a quintic.

    After one step the running mean of gradients is G up to scale. All other weights are updated by
    AdamW, whose first step is plus or minus the learning rate.
    """
    engine = small("sweep", optimizer="muon", weight_decay=0.1, layers=1)
    before, rate = engine.weights(), 0.003
    engine.step(np.arange(64), rate)
    hidden = 0
    for name, weights in engine.weights().items():
        gradient = engine.network.get_parameter(name).grad
        assert gradient is not None
        decay = 0.1 if weights.ndim == 2 else 0.0
        moved = weights - before[name] * (1 - rate * decay)
        if name.startswith("layers") and weights.ndim == 2:
            hidden += 1
            u, s, v = np.linalg.svd(gradient.double().numpy(), full_matrices=False)
            s /= np.linalg.norm(s)
            for _ in range(5):
                s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
            expected = -0.2 * rate * max(weights.shape) ** 0.5 * (u * s @ v)
            assert np.linalg.norm(moved - expected) < 0.01 * np.linalg.norm(expected), name
        else:
            large = gradient.numpy()[np.abs(gradient.numpy()) > 1e-5]
            sign = moved[np.abs(gradient.numpy()) > 1e-5] / -rate
            np.testing.assert_allclose(sign, np.sign(large), atol=0.01)
    assert hidden == 10


def test_resuming_muon_from_state_is_exact() -> None:
    whole, second = (small("sweep", optimizer="muon", layers=1) for _ in range(2))
    batches = [np.arange(start, start + 30) for start in range(0, 150, 30)]
    for batch in batches[:2]:
        whole.step(batch, 0.01)
    second.load_state(whole.state())
    losses = [whole.step(batch, 0.01) for batch in batches[2:]]
    assert [second.step(batch, 0.01) for batch in batches[2:]] == losses
