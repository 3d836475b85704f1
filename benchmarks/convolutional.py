"""Is a convolutional network better? Trained beside `sweep`, with all else the same.

    python benchmarks/convolutional.py [--epochs 10] [--seed 0] [--data NAME=PATH.npz]...

Three networks get the recipe `sweep`, its augmentation, its pictures of no digit, its optimiser
and schedule and calibration: the sweep network, a convolutional network of as many parameters, and
the example that everyone knows (two convolutions, dropout, 1.2 million parameters).
"""

import argparse
import functools
import itertools
import time
from collections.abc import Sequence

import msgspec
import numpy as np
from torch import Tensor, nn

from rowscan.datasets.digits import Digits, Split, load_digits, load_test_digits
from rowscan.metrics import score_digits
from rowscan.recipes import LSTMRecipe, Recipe, SweepRecipe, change, find
from rowscan.training.calibration import calibrate
from rowscan.training.engines.interface import predict_proba
from rowscan.training.engines.networks import Classifier
from rowscan.training.engines.torch import TorchEngine
from rowscan.training.loop import learning_rate
from rowscan.training.runs import environment

ANSWERS = 11


class Convolutional(Classifier):
    """Logits of whole images; (time, n, feature) of the scan `rows` is put upright first."""

    def __init__(self, features: nn.Sequential, head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.features = features
        *hidden, last = head
        assert isinstance(last, nn.Linear)
        self.head = last
        self.hidden = nn.Sequential(*hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 11); x is (28 rows, n, 28 pixels)."""
        maps: Tensor = self.features(x.transpose(0, 1)[:, None])
        logits: Tensor = self.head(self.hidden(maps.flatten(1)))
        return logits

    def every_step(self, x: Tensor) -> Tensor:
        """Logits (1, n, 11): the whole image is one step."""
        self.eval()
        logits = self(x)[None]
        self.train()
        return logits  # type: ignore[no-any-return]


def same_size() -> Convolutional:
    """Four convolutions with batch normalisation; as many parameters as `sweep`."""

    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]

    features = nn.Sequential(
        *block(1, 32),
        *block(32, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        *block(64, 64),
        nn.MaxPool2d(2),
    )
    head = [nn.Linear(64 * 7 * 7, 76), nn.ReLU(), nn.Linear(76, ANSWERS)]
    return Convolutional(features, head)


def well_known() -> Convolutional:
    """The example network of PyTorch's documentation: 1.2 million parameters."""
    features = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
    )
    head = [nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, ANSWERS)]
    return Convolutional(features, head)


def main() -> None:
    """Train the three in turn and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    recipe = change(
        find("sweep", SweepRecipe), {"epochs": arguments.epochs, "seed": arguments.seed}
    )
    rows = change(find("lstm-rows", LSTMRecipe), as_trained(recipe))
    digits = load_digits("mnist")
    named = [entry.partition("=")[::2] for entry in arguments.data]
    sets = {"MNIST test": digits.test} | {name: load_test_digits(path) for name, path in named}

    print(environment())
    print(f"{arguments.epochs} epochs, seed {arguments.seed}\n")
    print(f"{'network':20}{'parameters':>12}{'a step':>10}" + "".join(f"{n:>14}" for n in sets))
    engines = {
        "sweep": TorchEngine(recipe, arguments.device),
        "CNN of its size": TorchEngine(rows, arguments.device, network=same_size),
        "well-known CNN": TorchEngine(rows, arguments.device, network=well_known),
    }
    for name, engine in engines.items():
        seconds = train(engine, recipe, digits)
        calibrate(engine, functools.partial(loss_on, digits.validation, engine))
        parameters = sum(weight.size for weight in engine.weights().values())
        scores = [
            score_digits(predict_proba(engine, split.images), split.labels)
            for split in sets.values()
        ]
        row = "".join(f"{score.accuracy:14.2%}" for score in scores)
        print(f"{name:20}{parameters:12,}{1000 * seconds:7.0f} ms{row}", flush=True)


def as_trained(recipe: Recipe) -> dict[str, object]:
    """What of a recipe says how, and not which network, to train."""
    values = msgspec.structs.asdict(recipe)
    own = {"name", "summary", "published", "scan", "layers", "hidden"}
    return {key: value for key, value in values.items() if key not in own}


def loss_on(split: Split, engine: TorchEngine) -> float:
    """Mean loss in nats."""
    return score_digits(predict_proba(engine, split.images), split.labels).nll


def train(engine: TorchEngine, recipe: Recipe, digits: Digits) -> float:
    """As `rowscan train` does; the median seconds of a step."""
    engine.load_images(digits.train.images, digits.train.labels)
    batches = list(itertools.chain.from_iterable(engine.order(e) for e in range(recipe.epochs)))
    times = []
    for step, batch in enumerate(batches):
        start = time.perf_counter()
        engine.step(batch, learning_rate(recipe, step, len(batches)))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    main()
