"""Read the sample digits with a model: `python examples/read_digits.py [MODEL OR RUN]`."""

import csv
import sys
from pathlib import Path

import numpy as np

import rowscan
from rowscan import normalise_digit, open_image

DIGITS = Path(__file__).parent / "digits"


def main() -> None:
    """Print one line for each picture: file, digit, confidence, and whether it is right."""
    reader = rowscan.Reader(sys.argv[1] if len(sys.argv) > 1 else None)
    with (DIGITS / "labels.csv").open(newline="") as file:
        labelled = [(row["filename"], int(row["label"])) for row in csv.DictReader(file)]
    images = np.stack([normalise_digit(open_image(DIGITS / name)) for name, _ in labelled])
    digits, probabilities = reader.classify(images)
    right = 0
    for (name, label), digit, belief in zip(labelled, digits, probabilities, strict=True):
        right += int(digit == label)
        mark = "" if digit == label else f"   (it is a {label})"
        print(f"{name:<16} {digit}  {belief[digit]:6.1%}{mark}")
    print(f"{right} of {len(labelled)} sample digits read right")


if __name__ == "__main__":
    main()
