"""Rowscan's training beside the tutorials' way of feeding it: `make bench`.

The tutorials take one image at a time from PIL through a transform into a `DataLoader`, and hand
the batch to the same network and optimiser. The NumPy system has its images in memory already; what
Rowscan changes there is float64 to float32. The TensorFlow system no longer runs as published:
there each of Rowscan's engines takes the same steps instead.

All ways take some steps each, in turn, many times: a machine whose speed drifts, or that does
something else as well, is the same for all. A time is the median of its rounds, a ratio the median
of the rounds' ratios.
"""

import argparse
import ctypes
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
ENGINES = ("tensorflow", "torch", "numpy")
WORK = "   MFLOP      floor   of the peak"

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
    """Seconds a step of each way in each round. In a round all ways take so many steps, in turn."""
    times: dict[str, Times] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            next(way)  # threads of the way before may still wait awake
            start = time.perf_counter()
            for _ in range(steps):
                next(way)
            times[name].append((time.perf_counter() - start) / steps)
        if number == 0:  # the first round warms up
            times = {name: [] for name in ways}
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


def fastest(work: Callable[[], float], seconds: float = 1.0) -> float:
    """Operations a second of work that returns how many it did; the best of many."""
    best, end = 0.0, time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        done = work()
        best = max(best, done / (time.perf_counter() - start))
    return best


def machine_peak(cores: int) -> float:
    """Multiply-adds a second of all cores at once, in registers, as peak.cpp does them."""
    library = load_compiled(Path(__file__).with_name("peak.cpp"))
    library.multiply_add.restype = ctypes.c_int64
    library.multiply_add.argtypes = [ctypes.c_int64, ctypes.c_void_p]

    def one_core(_: int) -> float:
        result = ctypes.c_float(0.5)
        return fastest(lambda: float(library.multiply_add(100_000, ctypes.byref(result))))

    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(one_core, range(cores)))


def spread(slow: Times, fast: Times) -> str:
    """How many times as fast: the median, and the middle half of the rounds."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(slow, fast, strict=True)], n=4, method="inclusive"
    )
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def work_of(recipe: LSTMRecipe | MLPRecipe, seconds: float, peak: float) -> str:
    """Columns for the work in a step: MFLOP, how long it would take at the peak, the share."""
    flops = step_flops(recipe)
    return f"{flops / 1e6:6.0f}  {flops / peak * 1e3:6.2f} ms   {flops / seconds / peak:7.0%}"


def beside_the_tutorials(names: Sequence[str], rounds: int, steps: int, peak: float) -> None:
    """Print a line a recipe, and how Rowscan's own recipe compares with one of them."""
    split = load_digits("mnist").trainval
    recipes: dict[str, LSTMRecipe | MLPRecipe] = {}
    ways: dict[str, Iterator[None]] = {}
    for name in names:
        recipe = find(name, DigitRecipe)
        assert isinstance(recipe, (LSTMRecipe, MLPRecipe))
        recipes[name] = recipe
        if isinstance(recipe, LSTMRecipe):
            ways[f"tutorial {name}"] = tutorial_lstm(recipe, split)
        else:
            ways[f"tutorial {name}"] = tutorial_mlp(recipe, split)
        ways[name] = ours(recipe, split)
    own = find("lstm-rows", LSTMRecipe)
    if "lstm-rows-b64" in names:
        ways["lstm-rows"] = ours(own, split)
    times = measure(ways, rounds, steps)
    print(f"recipe          tutorial      Rowscan   ratio (middle half)   an epoch{WORK}")
    for name, recipe in recipes.items():
        slow, fast = (statistics.median(times[way]) for way in (f"tutorial {name}", name))
        print(
            f"{name:<13} {slow * 1e3:7.2f} ms  {fast * 1e3:8.2f} ms"
            f"   {spread(times[f'tutorial {name}'], times[name]):<20}"
            f"  {fast * 60_000 / recipe.batch_size:6.1f} s  {work_of(recipe, fast, peak)}"
        )
    if "lstm-rows-b64" in names:
        epoch = [seconds * 60_000 / 64 for seconds in times["tutorial lstm-rows-b64"]]
        whole = [seconds * own.epochs * 55_000 / own.batch_size for seconds in times["lstm-rows"]]
        share = statistics.median(a / b for a, b in zip(whole, epoch, strict=True))
        print(
            f"\nlstm-rows, all {own.epochs} epochs: {statistics.median(whole):.1f} s; one epoch of "
            f"lstm-rows-b64 the tutorial's way: {statistics.median(epoch):.1f} s; {share:.2f} of it"
        )


def engines_side_by_side(rounds: int, steps: int, peak: float) -> None:
    """Print a line an engine of the TensorFlow system."""
    recipe, split = find("lstm-rows-tf", LSTMRecipe), load_digits("mnist").trainval
    ways = {name: ours(change(recipe, {"engine": name}), split) for name in ENGINES}
    times = measure(ways, rounds, steps)
    import tensorflow as tf  # the engine has imported it, and quietly

    print(f"\nTensorFlow {tf.__version__}")
    print(f"{recipe.name}      a step   ratio (middle half)   all steps{WORK}")
    for name in ENGINES:
        usual = statistics.median(times[name])
        all_steps = usual * recipe.epochs * recipe.steps_per_epoch
        print(
            f"  {name:<11} {usual * 1e3:7.2f} ms   {spread(times['tensorflow'], times[name]):<20}"
            f"  {all_steps:6.1f} s  {work_of(recipe, usual, peak)}"
        )


def main() -> None:
    """Print a line a recipe: milliseconds a step both ways, the ratio, the machine's share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=40, help="times that each way has its turn")
    parser.add_argument("--steps", type=int, default=15, help="steps a turn")
    arguments = parser.parse_args()
    found = environment()
    cores = available_cores()
    print(f"{found['machine']}, {cores} cores, torch {found['torch']}, {found['date'][:10]}")
    peak = machine_peak(cores)
    matrix = torch.randn(2048, 2048)

    def product() -> float:
        torch.mm(matrix, matrix)
        return 2.0 * len(matrix) ** 3

    print(f"multiply-adds in registers, float32: {peak / 1e9:.0f} GFLOP/s, the peak below")
    print(f"matrix product of PyTorch, 2048 x 2048: {fastest(product) / 1e9:.0f} GFLOP/s\n")
    names = [name for name in arguments.recipes if name != "lstm-rows-tf"]
    if names:
        beside_the_tutorials(names, arguments.rounds, arguments.steps, peak)
    if "lstm-rows-tf" in arguments.recipes:
        engines_side_by_side(arguments.rounds, arguments.steps, peak)


if __name__ == "__main__":
    main()
