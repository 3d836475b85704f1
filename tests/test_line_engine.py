"""The engine of the line model: batches, learning, and the model file of its network."""

import collections
import contextlib
import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rowscan.alphabet import ALPHABET
from rowscan.io.pictures import open_image
from rowscan.recipes import LineRecipe, change, find
from rowscan.recognition.ctc import best_path, text_probability
from rowscan.segmentation.digit import normalise_digit
from rowscan.training.engines.interface import mean_of
from rowscan.training.export import LABELS as NAMES
from rowscan.training.export import _model
from rowscan.training.synthesis.documents import Documents, LabelledLine
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import LineBatch
from rowscan.training.tasks.line.batches import Line, Lines, steps
from rowscan.training.tasks.line.engine import (
    LineEngine,
    count_exact,
    ctc_loss,
    divergence,
    held_out,
)
from rowscan.training.tasks.line.graph import line_graph

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "digits").glob("*.png"))
IMAGES = np.stack([normalise_digit(open_image(path)) for path in EXAMPLES])
LABELS = np.array([int(path.stem[0]) for path in EXAMPLES], np.uint8)


def small() -> LineRecipe:
    values = {"hidden": 16, "layers": 1, "batch_size": 8, "steps_per_epoch": 5}
    return change(find("line", LineRecipe), values)


def engine() -> LineEngine:
    made = LineEngine(small(), "cpu")
    made.load_images(IMAGES, LABELS)
    return made


def test_line_numbers_are_unique() -> None:
    numbers = np.concatenate([batch for epoch in (1, 0, 2) for batch in engine().order(epoch)])
    np.testing.assert_array_equal(np.sort(numbers), np.arange(3 * 5 * 8))


def test_a_step_depends_on_batch_and_state_only() -> None:
    whole, first, second = engine(), engine(), engine()
    batches = [*whole.order(0)]
    losses = [whole.step(batch, 0.01) for batch in batches]
    for batch in batches[:2]:
        first.step(batch, 0.01)
    second.load_state(first.state())
    assert [second.step(batch, 0.01) for batch in batches[2:]] == losses[2:]


def test_the_loss_is_minus_the_log_probability_of_the_text() -> None:
    made = engine()
    lines = next(held_out(Inks(IMAGES, LABELS), seed=3))
    probabilities, mean = made.read(lines)
    losses = [
        -np.log(text_probability(probabilities[: steps(width), i], label))
        for i, (width, label) in enumerate(zip(lines.widths, lines.labels, strict=True))
    ]
    assert mean == pytest.approx(np.mean(losses), rel=1e-4)


def test_held_out_lines_are_reproducible() -> None:
    first, again = (
        next(held_out(Inks(IMAGES, LABELS), seed=3)),
        next(held_out(Inks(IMAGES, LABELS), seed=3)),
    )
    assert torch.equal(first.ink, again.ink)
    other = next(held_out(Inks(IMAGES, LABELS), seed=4))
    assert first.labels != other.labels


def test_lines_read_by_their_widths_are_read_as_all_at_once() -> None:
    made = engine()
    few = next(held_out(Inks(IMAGES, LABELS), seed=3, lines=9))
    wide = 16 * -(-few.ink.shape[2] // 16)
    ink = torch.nn.functional.pad(few.ink, (0, wide - few.ink.shape[2])).mul(255).round()
    probabilities, loss = made.read(LineBatch(ink / 255, (wide,) * 9, few.labels))
    texts = [best_path(probabilities[:, i]) for i in range(9)]
    labels = [text if i % 3 else (*text, 7) for i, text in enumerate(texts)]
    rows = ink.to(torch.uint8).numpy()
    right, _ = made.measure([Line(row, text) for row, text in zip(rows, labels, strict=True)])
    assert right == 6
    _, mean = made.measure([Line(row, text) for row, text in zip(rows, few.labels, strict=True)])
    assert mean == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("trained", ["all", "last"])
def test_weights_are_compared_by_how_many_lines_each_reads(trained: str) -> None:
    made = LineEngine(change(small(), {"trained": trained}), "cpu")
    few = next(held_out(Inks(IMAGES, LABELS), seed=3, lines=9))
    rows = (255 * few.ink).round().to(torch.uint8).numpy()
    first = made.weights()
    noise = np.random.default_rng(0).normal(0, 0.1, first["head.bias"].shape)
    other = first | {"head.bias": first["head.bias"] + noise.astype(np.float32)}
    if trained == "all":
        other["embed.bias"] = 1 - first["embed.bias"]
    probabilities, _ = made.read(few)
    labels = [best_path(probabilities[: steps(w), i]) for i, w in enumerate(few.widths)]
    lines = [Line(row[:, :w], text) for row, w, text in zip(rows, few.widths, labels, strict=True)]
    right = []
    for weights in (first, other):
        made.load_weights(weights)
        right.append(made.measure(lines)[0])
    assert right[0] > right[1]
    assert made.compare([first, other], lines) == right


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9))
def test_divergence_is_that_of_kullback_and_leibler(seed: int, n: int, time: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = 2 * rng.standard_normal((2, time, n, 4), np.float32)
    times = rng.integers(1, time + 1, n)
    p, q = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) for logits in (one, other))
    each = (p * np.log(p / q)).sum(-1)
    expected = [each[:end, line].sum() for line, end in enumerate(times)]
    found = divergence(*map(torch.from_numpy, (one, other, times)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert float(divergence(*map(torch.from_numpy, (one, one, times))).abs().max()) < 1e-5


def test_composed_lines_keep_what_was_known_and_a_user_s_own_teach() -> None:
    recipe = change(small(), {"distillation": 1.0, "trained": "last"})
    made = LineEngine(recipe, "cpu")
    ink = np.zeros((32, 60), np.uint8)
    ink[8:24, 10:20] = ink[8:24, 30:40] = 255
    made.load_documents(Documents("mine", (LabelledLine(ink, (1, 1)),), 0, ()))
    made.load_images(IMAGES, LABELS)
    before = made.weights()
    lines = made.lines_composer()(0)
    assert [line.own for line in lines] == [False] * 4 + [True] * 4
    loss, _ = made.step(Lines.of(lines[:4]), 0.01)
    assert float(loss) == pytest.approx(0, abs=1e-6)  # as the teacher answers
    made.load_weights(before)
    loss, _ = made.step(Lines.of(lines[4:]), 0.01)
    assert float(loss) > 1
    after = made.weights()
    changed = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert changed == {"join", "along", "last_norm", "head"}


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 12))
def test_lines_are_counted_on_a_device_as_greedy_decoding_reads_them(
    seed: int, n: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    widths = tuple(rng.integers(1, 4 * columns + 1, n).tolist())
    logits = 3 * rng.standard_normal((2 * columns, n, 4)).astype(np.float32)
    read = [best_path(logits[: steps(width), i]) for i, width in enumerate(widths)]
    labels = tuple(text if rng.random() < 0.7 else (*text, 1) for text in read)
    lines = Lines(np.zeros((n, 32, 4 * columns), np.uint8), widths, labels, (False,) * n)
    found = count_exact(torch.from_numpy(logits), lines.truth(torch.device("cpu")))
    assert int(found) == sum(text == label for text, label in zip(read, labels, strict=True))


@pytest.mark.parametrize("first", [0, 3, 9])
def test_lines_composed_ahead_are_those_of_a_step_alone(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps: the second pool of batches begins after the eighth."""
    ahead, alone = engine(), engine()
    batches = [batch for epoch in range(2) for batch in ahead.order(epoch)][first:]
    monkeypatch.setattr("rowscan.training.engines.prefetch.available_cores", lambda: 3)
    with contextlib.closing(ahead.feed(iter(batches))) as fed:
        losses = [ahead.step(lines, 0.01) for lines in fed]
    assert losses == [alone.step(batch, 0.01) for batch in batches]


def test_a_pool_s_batches_hold_lines_of_like_widths() -> None:
    made = engine()
    with contextlib.closing(made.feed(itertools.chain(made.order(0), made.order(1)))) as fed:
        pool = [[-(-width // 16) for width in batch.widths] for batch in itertools.islice(fed, 8)]
    assert len(pool) == 8
    assert sorted(itertools.chain(*pool)) == list(itertools.chain(*sorted(pool)))


def test_half_of_each_batch_is_a_user_s_own() -> None:
    made = engine()
    inks = [np.full((32, width), 9, np.uint8) for width in (40, 90, 300)]
    made.load_documents(Documents("mine", tuple(LabelledLine(ink, (1,)) for ink in inks), 0, ()))
    with contextlib.closing(made.feed(itertools.chain(made.order(0), made.order(1)))) as fed:
        pool = list(itertools.islice(fed, 8))
    assert [sum(batch.own) for batch in pool] == [4] * 8
    for own in (False, True):
        widths = [
            [-(-w // 16) for w, its in zip(batch.widths, batch.own, strict=True) if its is own]
            for batch in pool
        ]
        assert sorted(itertools.chain(*widths)) == list(itertools.chain(*sorted(widths)))


@pytest.mark.parametrize("uses", [1, 2, 3, 5])
def test_each_line_is_used_as_often_as_asked_for(uses: int) -> None:
    made = LineEngine(change(small(), {"uses": uses}), "cpu")
    turns = range(40 * uses * uses)
    used = collections.Counter(made._pool(turn) for turn in turns)
    oldest = [made._first_pool(turn) for turn in turns]
    assert oldest == sorted(oldest)
    assert all(made._first_pool(turn) <= made._pool(turn) <= turn // uses for turn in turns)
    for pool in range(oldest[-1]):  # the first ones stand in for those before them
        assert used[pool] == uses or (pool < 8 * uses and used[pool] <= uses**2)


@pytest.mark.parametrize("first", [0, 8 * 7 + 3])
def test_lines_used_again_are_the_same_after_an_interruption(first: int) -> None:
    made = LineEngine(change(small(), {"uses": 3, "steps_per_epoch": 80}), "cpu")
    made.load_images(IMAGES, LABELS)
    with contextlib.closing(made.feed(made.order(0))) as whole:
        expected = [batch.labels for batch in itertools.islice(whole, first, 75)]
    with contextlib.closing(made.feed(itertools.islice(made.order(0), first, None))) as rest:
        assert [batch.labels for batch in itertools.islice(rest, 75 - first)] == expected


def test_passes_in_two_parts_give_the_gradients_of_one() -> None:
    made, other = engine(), engine()
    batch = next(made.order(0))
    other.step(batch, 1e-9)
    with contextlib.closing(made.feed(iter([batch]))) as fed:
        loss, right = made._captured_step(next(fed), 1e-9)
    expected, count = other.step(batch, 1e-9)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert float(right) == float(count)
    ours, theirs = made.network.parameters(), other.network.parameters()
    for one, two in zip(ours, theirs, strict=True):
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-5)


def test_a_mean_of_two_networks_lies_between_them() -> None:
    first = {"a": np.array([1.0, 5.0], np.float32), "b": np.array(3.0, np.float32)}
    second = {"a": np.array([2.0, 1.0], np.float32), "b": np.array(-1.0, np.float32)}
    for share, a, b in ((0.0, [1, 5], 3), (0.25, [1.25, 4], 2), (1.0, [2, 1], -1)):
        found = mean_of(first, second, share)
        np.testing.assert_array_equal(found["a"], np.array(a, np.float32), strict=True)
        assert found["b"] == b


def test_it_overfits_one_batch() -> None:
    made = engine()
    lines = next(held_out(Inks(IMAGES, LABELS), seed=5))
    written = [number for number, label in enumerate(lines.labels) if label]
    short = sorted(written, key=lambda number: lines.widths[number])[:4]
    widths = tuple(lines.widths[number] for number in short)
    labels = tuple(lines.labels[number] for number in short)
    few = LineBatch(lines.ink[short, :, : max(widths)], widths, labels)
    optimizer = torch.optim.Adam(made.network.parameters(), 0.01)
    for _ in range(600):
        loss = ctc_loss(made._logits(few.ink), few).mean()
        if loss < 0.1:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    probabilities, _ = made.read(few)
    read = [best_path(probabilities[: steps(n), i]) for i, n in enumerate(widths)]
    assert read == list(labels)


@pytest.mark.parametrize("width", [4, 36, 200, 1000, 4096])
def test_the_graph_takes_lines_of_any_width(width: int) -> None:
    made = engine()
    content = _model(
        small(),
        line_graph(small(), made.weights()),
        "line",
        {},
        {},
        alphabet=ALPHABET,
        labels=NAMES,
    ).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).integers(0, 256, (2, 32, width), dtype=np.uint8)
    (answer,) = session.run(None, {"images": images})
    with torch.inference_mode():
        logits = made.network(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(answer, logits.softmax(-1).transpose(0, 1), atol=1e-5)
