"""The digit model in figures: how often right, how sure, how fast.

    python benchmarks/digit_model.py [--model FILE] [--data NAME=PATH.npz]...

Each data set of one's own, an `.npz` with `images` and `labels`, is read as `rowscan evaluate`
reads it. What is no digit is told from MNIST's digits by the confidence alone: clothes, and the
pictures of no digit that a training draws, here with a seed that no training used. What the model's
further looks bring is told by the figures from one look, which stand beside the others.
"""

import argparse
import time

import numpy as np
import torch
from jaxtyping import Float

import rowscan
from rowscan.datasets.digits import load_digits, load_test_digits
from rowscan.metrics import score_digits
from rowscan.training.runs import environment
from rowscan.training.synthesis.negatives import draw_negatives

SEED = 2_000_003
SINGLE_READINGS = 1000


def main() -> None:
    """Print a table a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model file or run; without it the one that ships")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    reader = rowscan.Reader(arguments.model)
    data = load_digits("mnist")
    mnist = data.test
    sets = {"MNIST test": mnist, "MNIST validation": data.validation}
    for entry in arguments.data:
        name, _, path = entry.partition("=")
        sets[name] = load_test_digits(path)
    digits = reader.predict_proba(mnist.images)

    print(
        f"{'data':16}{'images':>8}{'accuracy':>10}  {'95% interval':18}{'ECE':>8}{'NLL':>9}"
        f"  {'without TTA':>11}{'NLL':>9}"
    )
    for name, split in sets.items():
        scored = score_digits(reader.predict_proba(split.images), split.labels)
        once = score_digits(reader.digit_model.predict_once(split.images), split.labels)
        low, high = scored.interval
        print(
            f"{name:16}{scored.n:8,}{scored.accuracy:10.2%}  {low:.2%} to {high:.2%}  "
            f"{scored.ece:7.2%}{scored.nll:9.4f}  {once.accuracy:11.2%}{once.nll:9.4f}"
        )

    print(f"\n{'no digits':16}{'images':>8}{'AUROC':>10}{'over 0.9 sure':>16}")
    material = torch.from_numpy(mnist.images[:5000].copy())
    truth = torch.from_numpy(mnist.labels[:5000].astype(np.int64))
    drawn = draw_negatives(5000, material, truth, torch.Generator().manual_seed(SEED))
    others = {
        "clothes": load_digits("fashion-mnist").test.images,
        "clothes, framed": load_labelled_fashion(),
        "drawn": (255 * drawn).round().to(torch.uint8).numpy(),
    }
    sure = digits.max(1)
    for name, images in others.items():
        unsure = reader.predict_proba(images).max(1)
        print(f"{name:16}{len(images):8,}{auroc(sure, unsure):10.4f}{(unsure > 0.9).mean():16.2%}")

    print()
    times = []
    for i in range(SINGLE_READINGS):
        start = time.perf_counter()
        reader.classify(mnist.images[i : i + 1])
        times.append(time.perf_counter() - start)
    print(f"one image, one core: median {1000 * np.median(times):.2f} ms")
    for threads in (1, 2):
        many = rowscan.Reader(arguments.model, threads=threads)
        start = time.perf_counter()
        many.classify(mnist.images)
        print(f"10,000 images, {threads} core(s): {time.perf_counter() - start:.2f} s")


def load_labelled_fashion() -> np.ndarray:
    """The clothes as a reader of photos would see them: brought to MNIST's frame."""
    from rowscan.segmentation.digit import normalise_digit

    return np.stack([normalise_digit(image) for image in load_digits("fashion-mnist").test.images])


def auroc(inside: Float[np.ndarray, " n"], outside: Float[np.ndarray, " m"]) -> float:
    """How often one of `inside` is higher than one of `outside`; a tie counts as half."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left")
    not_above = np.searchsorted(ordered, inside, "right")
    return float((below + not_above).mean() / 2 / len(outside))


if __name__ == "__main__":
    main()
