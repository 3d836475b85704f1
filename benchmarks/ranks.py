"""How far trainings on one and on two processes part within a hundred steps, through rounding.

    OMP_NUM_THREADS=1 python benchmarks/ranks.py

Prints the largest difference of a weight, recipe by recipe.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import rowscan
from rowscan.recipes import DigitRecipe, find
from rowscan.training.engines.distributed import process_group
from rowscan.training.engines.factory import create
from rowscan.training.loop import learning_rate
from rowscan.training.runs import environment

RECIPES = ("lstm-rows", "lstm-rows-b64", "lstm-columns", "sweep")
STEPS = 100


def main() -> None:
    """Train each recipe twice and compare."""
    print(environment(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        for processes in (1, 2):
            start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            subprocess.run([sys.executable, *start, __file__, f"{folder}/{processes}"], check=True)
        for name in RECIPES:
            one, two = (load_file(Path(folder) / f"{n}-{name}") for n in (1, 2))
            print(f"{name:16}{max(float(np.abs(one[key] - two[key]).max()) for key in one):.1g}")


def train(target: str) -> None:
    """As one of the processes; the first writes the weights."""
    with process_group("cpu") as group:
        train = rowscan.load_digits("mnist").train
        for name in RECIPES:
            recipe = find(name, DigitRecipe)
            engine = create(recipe, "cpu")
            engine.load_images(train.images, train.labels)
            steps = recipe.epochs * (len(train.images) // recipe.batch_size)
            for step, batch in zip(range(STEPS), engine.order(0), strict=False):
                engine.step(batch, learning_rate(recipe, step, steps))
            if group.is_main:
                save_file(engine.weights(), f"{target}-{name}")


if __name__ == "__main__":
    train(sys.argv[1]) if len(sys.argv) > 1 else main()
