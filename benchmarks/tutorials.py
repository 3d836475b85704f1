"""Rowscan's training beside the tutorials' way of feeding it: `make bench`.

The tutorials take one image at a time from PIL through a transform into a `DataLoader`, and hand
the batch to the same network and optimiser. Both ways train here in turn, so that the ratio holds
on a machine whose speed drifts. The NumPy system has its images in memory already; what Rowscan
changes there is float64 to float32. The TensorFlow system no longer runs as published: there each
of Rowscan's engines takes the same steps instead.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rowscan.datasets.digits import Split, load_digits
from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe, change, find
from rowscan.scans import scan
from rowscan.training.engines.by_hand import mlp_gradients
from rowscan.training.engines.factory import create
from rowscan.training.engines.seeding import initial_weights
from rowscan.training.runs import environment

RECIPES = ("lstm-rows-b32", "lstm-rows-b64", "lstm-columns", "mlp-numpy", "lstm-rows-tf")
ENGINES = ("tensorflow", "torch", "numpy")
ROUNDS = 3


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


def time_steps(way: Iterator[None], steps: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    for _ in range(steps):
        next(way)
    return (time.perf_counter() - start) / steps


def step_flops(recipe: LSTMRecipe | MLPRecipe) -> float:
    """Floating-point operations of the matrix products of one training step.

    Two for each weight and input forward, and twice as many backward: once for the gradient of
    the weights, once for that of the inputs.
    """
    steps, features = scan(recipe.scan).shape
    if isinstance(recipe, MLPRecipe):
        return float(6 * recipe.batch_size * recipe.hidden * (features + 10))
    inputs = [features] + [recipe.hidden] * (recipe.layers - 1)
    weights: int = sum(4 * recipe.hidden * (width + recipe.hidden) for width in inputs)
    return float(6 * recipe.batch_size * (steps * weights + 10 * recipe.hidden))


def machine_flops(product: Callable[[], object], size: int) -> float:
    """Operations a second of a product of two square matrices; the best of five."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(times[1:])


def engines_side_by_side(recipe: LSTMRecipe, split: Split, steps: int, peak: float) -> None:
    """Print a line an engine: milliseconds a step, of each round, and the machine's share."""
    ways = {name: ours(change(recipe, {"engine": name}), split) for name in ENGINES}
    for way in ways.values():
        time_steps(way, 10)
    import tensorflow as tf  # the engine has imported it, and quietly

    rounds = [{name: time_steps(way, steps) for name, way in ways.items()} for _ in range(ROUNDS)]
    print(f"\nTensorFlow {tf.__version__}")
    print(f"{recipe.name}      a step   (of each round, ms)   all steps   of the peak")
    for name in ENGINES:
        times = [times[name] for times in rounds]
        each = ", ".join(f"{t * 1e3:.2f}" for t in times)
        usual = statistics.median(times)
        print(
            f"  {name:<11} {usual * 1e3:7.2f} ms   {f'({each})':<22}"
            f"  {usual * recipe.epochs * recipe.steps_per_epoch:6.1f} s"
            f"   {step_flops(recipe) / usual / peak:8.0%}"
        )


def main() -> None:
    """Print a line a recipe: milliseconds a step both ways, the ratio, the machine's share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--steps", type=int, default=200, help="steps a way and round")
    arguments = parser.parse_args()
    found = environment()
    machine = f"{found['machine']}, {found['cores']} cores"
    print(f"{machine}, torch {found['torch']}, {found['date'][:10]}")
    split = load_digits("mnist").trainval
    matrix = torch.randn(2048, 2048)
    peak = machine_flops(lambda: matrix @ matrix, 2048)
    print(f"matrix product 2048 x 2048 in float32: {peak / 1e9:.0f} GFLOP/s\n")
    print("recipe           tutorial     Rowscan   ratio (of each round)   an epoch   of the peak")
    tutorial_epoch = 0.0
    for name in arguments.recipes:
        recipe = find(name, DigitRecipe)
        if recipe.engine == "tensorflow":
            continue
        if isinstance(recipe, MLPRecipe):
            theirs = tutorial_mlp(recipe, split)
        else:
            recipe = find(name, LSTMRecipe)
            theirs = tutorial_lstm(recipe, split)
        mine = ours(recipe, split)
        time_steps(theirs, 10), time_steps(mine, 10)
        pairs = [
            (time_steps(theirs, arguments.steps), time_steps(mine, arguments.steps))
            for _ in range(ROUNDS)
        ]
        slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratios = [a / b for a, b in pairs]
        spread = f"{statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})"
        share = step_flops(recipe) / fast / peak
        print(
            f"{name:<14} {slow * 1e3:7.2f} ms  {fast * 1e3:7.2f} ms   {spread:<22}"
            f"  {fast * 60_000 / recipe.batch_size:6.1f} s   {share:8.0%}"
        )
        if name == "lstm-rows-b64":
            tutorial_epoch = slow * 60_000 / recipe.batch_size
    if "lstm-rows-tf" in arguments.recipes:
        engines_side_by_side(find("lstm-rows-tf", LSTMRecipe), split, arguments.steps, peak)
    if tutorial_epoch:
        recipe = find("lstm-rows", LSTMRecipe)
        mine = ours(recipe, split)
        time_steps(mine, 10)
        steps = recipe.epochs * 55_000 / recipe.batch_size
        times = [time_steps(mine, arguments.steps) for _ in range(ROUNDS)]
        print(
            f"\nlstm-rows, all {recipe.epochs} epochs: {statistics.median(times) * steps:.1f} s; "
            f"one epoch of lstm-rows-b64 the tutorial's way: {tutorial_epoch:.1f} s"
        )


if __name__ == "__main__":
    main()
