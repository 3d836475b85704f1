"""Rowscan's training beside the tutorials' way of feeding it: `make bench`.

The tutorials take one image at a time from PIL through a transform into a `DataLoader`, and hand
the batch to the same network and optimiser. The NumPy system has its images in memory already; what
Rowscan changes there is float64 to float32. The TensorFlow system no longer runs as published:
there each of Rowscan's engines takes the same steps instead.

All ways take some steps each, in turn, many times, and so does a loop of multiply-adds in
registers, the peak of the machine: its speed may drift, but is then the same for all. A time is the
median of its rounds, a ratio the median of the rounds' ratios.
"""

import argparse
import ctypes
import itertools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rowscan.datasets.digits import Split, load_digits
from rowscan.io.cores import available_cores
from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe, change, find
from rowscan.scans import scan
from rowscan.training.engines.by_hand import mlp_gradients
from rowscan.training.engines.compiler import load_compiled
from rowscan.training.engines.factory import create
from rowscan.training.engines.seeding import initial_weights
from rowscan.training.runs import environment

RECIPES = ("lstm-rows-b32", "lstm-rows-b64", "lstm-columns", "mlp-numpy", "lstm-rows-tf")
STEPS: dict[str, dict[str, object]] = {
    "tensorflow": {"engine": "tensorflow"},
    "torch": {"engine": "torch", "compiled": False},
    "compiled": {"engine": "torch"},
    "numpy": {"engine": "numpy"},
}
"""What a recipe changes for each way of taking a step."""
WORK = "    MFLOP      floor   of the peak"
WARM_UP = 0.03
"""Seconds before a turn is measured: the threads of the way before wait awake for some of them."""
PEAK_TIMES = 3_000_000
"""Multiply-adds in each chain of peak.cpp for a step of the peak: some milliseconds."""

Times = list[float]
"""Seconds a step, of each round."""


class OneAtATime(Dataset[tuple[Tensor, int]]):
    """What torchvision's MNIST with `ToTensor` (and `Normalize`) does for each image.

    The tensor operations are torchvision's, one for one; its checks of argument types are left out.
    """

    def __init__(self, split: Split, *, signed: bool) -> None:
        self.images = torch.from_numpy(split.images.copy())
        self.labels = torch.from_numpy(split.labels.astype(np.int64))
        self.signed = signed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index].numpy(), mode="L")
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(28, 28, 1)
        x = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        if self.signed:
            x = x.clone()
            mean = torch.as_tensor((0.5,), dtype=x.dtype, device=x.device)
            deviation = torch.as_tensor((0.5,), dtype=x.dtype, device=x.device)
            if (deviation == 0).any():
                raise ValueError("a deviation of zero")
            x.sub_(mean.view(-1, 1, 1)).div_(deviation.view(-1, 1, 1))
        return x, int(self.labels[index])


class TutorialLSTM(nn.Module):
    """The network of the published LSTM scripts: batch first for rows, time first for columns."""

    def __init__(self, recipe: LSTMRecipe) -> None:
        super().__init__()
        self.columns = recipe.scan == "columns"
        self.lstm = nn.LSTM(28, recipe.hidden, recipe.layers, batch_first=not self.columns)
        self.out = nn.Linear(recipe.hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 10) of images (batch, 1, 28, 28)."""
        if self.columns:
            output, _ = self.lstm(x.squeeze(1).permute(2, 0, 1))
            return self.out(output[-1])  # type: ignore[no-any-return]
        output, _ = self.lstm(x.view(-1, 28, 28))
        return self.out(output[:, -1, :])  # type: ignore[no-any-return]


def tutorial_lstm(recipe: LSTMRecipe, split: Split) -> Iterator[None]:
    """Train as the tutorial does; each `next` is one step."""
    torch.manual_seed(recipe.seed)
    network = TutorialLSTM(recipe)
    make = {"adam": torch.optim.Adam, "adadelta": torch.optim.Adadelta}[recipe.optimizer]
    optimizer = make(network.parameters(), lr=recipe.learning_rate)
    loss_of = nn.CrossEntropyLoss()
    images = OneAtATime(split, signed=recipe.pixels == "signed")
    for _ in itertools.count():
        for x, y in DataLoader(images, batch_size=recipe.batch_size, shuffle=True):
            loss = loss_of(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def tutorial_mlp(recipe: MLPRecipe, split: Split) -> Iterator[None]:
    """The from-scratch network in NumPy's default precision, as published."""
    rng = np.random.default_rng(recipe.seed)
    pixels = split.images.reshape(1, len(split), -1).astype(np.float64)
    weights = {name: value.astype(np.float64) for name, value in initial_weights(recipe).items()}
    while True:
        batch = rng.choice(len(split), recipe.batch_size)
        _, _, gradients = mlp_gradients(weights, pixels[:, batch], split.labels[batch])
        for name, gradient in gradients.items():
            weights[name] -= recipe.learning_rate * gradient
        yield


def ours(recipe: DigitRecipe, split: Split) -> Iterator[None]:
    """Train as Rowscan does; each `next` is one step."""
    engine = create(recipe, "cpu")
    engine.load_images(split.images, split.labels)
    for epoch in itertools.count():
        for batch in engine.order(epoch):
            engine.step(batch, recipe.learning_rate)
            yield


def measure(ways: Mapping[str, Iterator[None]], rounds: int, steps: int) -> dict[str, Times]:
    """Seconds per step of each way in each round; in a round they take `steps` steps in turn."""
    times: dict[str, Times] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            while time.perf_counter() < begin + WARM_UP:
                next(way)
            start = time.perf_counter()
            for _ in range(steps):
                next(way)
            times[name].append((time.perf_counter() - start) / steps)
    return times


def step_flops(recipe: LSTMRecipe | MLPRecipe) -> float:
    """Floating-point operations of the matrix products of one training step, and no more.

    Two for each weight and input forward, and twice as many backward: once for the gradient of
    the weights, once for that of the inputs. The images need no gradient.
    """
    steps, features = scan(recipe.scan).shape
    if isinstance(recipe, MLPRecipe):
        return float(recipe.batch_size * recipe.hidden * (4 * features + 6 * 10))
    gates = 4 * recipe.hidden
    first = gates * (4 * features + 6 * recipe.hidden)
    above = (recipe.layers - 1) * gates * 6 * 2 * recipe.hidden
    return float(recipe.batch_size * (steps * (first + above) + 6 * 10 * recipe.hidden))


def peak(cores: int, rates: list[float]) -> Iterator[None]:
    """Multiply-adds by all cores at once; a step adds to `rates` how many operations a second."""
    library = load_compiled(Path(__file__).with_name("peak.cpp"))
    library.multiply_add.restype = ctypes.c_int64
    library.multiply_add.argtypes = [ctypes.c_int64, ctypes.c_void_p]

    def one_core(_: int) -> int:
        result = ctypes.c_float(0.5)
        return int(library.multiply_add(PEAK_TIMES, ctypes.byref(result)))

    with ThreadPoolExecutor(cores) as pool:
        while True:
            start = time.perf_counter()
            done = sum(pool.map(one_core, range(cores)))
            rates.append(done / (time.perf_counter() - start))
            yield


def spread(slow: Times, fast: Times) -> str:
    """How many times as fast: the median, and the middle half of the rounds."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(slow, fast, strict=True)], n=4, method="inclusive"
    )
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def work_of(recipe: LSTMRecipe | MLPRecipe, seconds: float, rates: list[float]) -> str:
    """Columns for the work in a step: MFLOP, how long it would take at the peak, the share."""
    flops, at_peak = step_flops(recipe), step_flops(recipe) / statistics.median(rates)
    return f"{flops / 1e6:7.0f}  {at_peak * 1e3:6.2f} ms   {at_peak / seconds:7.0%}"


def beside_the_tutorials(names: Sequence[str], rounds: int, steps: int, cores: int) -> None:
    """Print a line for each way of a recipe, and how Rowscan's own recipe compares with one."""
    split = load_digits("mnist").trainval
    recipes: dict[str, LSTMRecipe | MLPRecipe] = {}
    ways: dict[str, Iterator[None]] = {}
    for name in names:
        if name == "mlp-numpy":
            recipes[name] = mlp = find(name, MLPRecipe)
            ways[f"{name} tutorial"] = tutorial_mlp(mlp, split)
            ways[f"{name} numpy"] = ours(mlp, split)
            continue
        recipes[name] = lstm = find(name, LSTMRecipe)
        ways[f"{name} tutorial"] = tutorial_lstm(lstm, split)
        for engine in ("torch", "compiled"):
            ways[f"{name} {engine}"] = ours(change(lstm, STEPS[engine]), split)
    own = find("lstm-rows", LSTMRecipe)
    if "lstm-rows-b64" in names:
        ways["lstm-rows compiled"] = ours(own, split)
    rates: list[float] = []
    times = measure(ways | {"peak": peak(cores, rates)}, rounds, steps)
    print_peak(rates)
    print(f"{'recipe, engine':<25}  a step   times as fast (middle half)   an epoch{WORK}")
    for way in ways:
        name, engine = way.split()
        if name not in recipes:
            continue
        usual, recipe = statistics.median(times[way]), recipes[name]
        print(
            f"{name:<14} {engine:<9} {usual * 1e3:7.2f} ms  "
            f"{spread(times[f'{name} tutorial'], times[way]):<24}"
            f"    {usual * 60_000 / recipe.batch_size:6.1f} s  {work_of(recipe, usual, rates)}"
        )
    if "lstm-rows-b64" in names:
        epoch = [seconds * 60_000 / 64 for seconds in times["lstm-rows-b64 tutorial"]]
        steps_of_all = own.epochs * 55_000 / own.batch_size
        whole = [seconds * steps_of_all for seconds in times["lstm-rows compiled"]]
        share = statistics.median(a / b for a, b in zip(whole, epoch, strict=True))
        print(
            f"\nlstm-rows, all {own.epochs} epochs, compiled: {statistics.median(whole):.1f} s; "
            f"one epoch of lstm-rows-b64 the tutorial's way: {statistics.median(epoch):.1f} s; "
            f"{share:.2f} of it"
        )


def engines_side_by_side(rounds: int, steps: int, cores: int) -> None:
    """Print a line for each engine of the TensorFlow system."""
    recipe, split = find("lstm-rows-tf", LSTMRecipe), load_digits("mnist").trainval
    ways = {name: ours(change(recipe, changes), split) for name, changes in STEPS.items()}
    rates: list[float] = []
    times = measure(ways | {"peak": peak(cores, rates)}, rounds, steps)
    import tensorflow as tf  # the engine has imported it, and quietly

    print(f"\nTensorFlow {tf.__version__}")
    print_peak(rates)
    print(f"{recipe.name}     a step   times as fast (middle half)   all steps{WORK}")
    for name in STEPS:
        usual = statistics.median(times[name])
        all_steps = usual * recipe.epochs * recipe.steps_per_epoch
        print(
            f"  {name:<10} {usual * 1e3:7.2f} ms   {spread(times['tensorflow'], times[name]):<24}"
            f"    {all_steps:6.1f} s  {work_of(recipe, usual, rates)}"
        )


def print_peak(rates: list[float]) -> None:
    """Print the peak, which the shares below it are of."""
    low, middle, high = (f"{rate / 1e9:.0f}" for rate in statistics.quantiles(rates, n=4))
    print(f"multiply-adds in registers, float32: {middle} GFLOP/s ({low} to {high}), the peak")


def main() -> None:
    """Print how long a step takes in each way, how much faster that is, and the machine's share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=12, help="times that each way has its turn")
    parser.add_argument("--steps", type=int, default=40, help="steps a turn")
    arguments = parser.parse_args()
    found = environment()
    cores = available_cores()
    print(f"{found['machine']}, {cores} cores, torch {found['torch']}, {found['date'][:10]}")
    matrix, products = torch.randn(2048, 2048), []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        products.append(2.0 * len(matrix) ** 3 / (time.perf_counter() - start))
    print(f"PyTorch's matrix product, 2048 x 2048: {statistics.median(products) / 1e9:.0f} GFLOP/s")
    if names := [name for name in arguments.recipes if name != "lstm-rows-tf"]:
        beside_the_tutorials(names, arguments.rounds, arguments.steps, cores)
    if "lstm-rows-tf" in arguments.recipes:
        engines_side_by_side(arguments.rounds, arguments.steps, cores)


if __name__ == "__main__":
    main()
