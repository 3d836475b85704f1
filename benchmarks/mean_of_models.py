"""The best mean of two models: of one, and of another that was trained on from it.

    python benchmarks/mean_of_models.py FIRST SECOND [--recipe line]
        [--shares 0.3,0.4,0.5,0.6,0.7,0.8,1] [--output runs/mean]

FIRST and SECOND are model files or run directories of the recipe, `line` or `page`, or `shipped`.
The mean of their weights is often better than either. The share of the second one with the smallest
loss on composed validation lines or pages is taken, tested on those of test digits (a line model is
calibrated first), and left in a run directory.
"""

import argparse
from pathlib import Path

from rowscan.recipes import change, find
from rowscan.training.engines.interface import mean_of
from rowscan.training.export import read_weights
from rowscan.training.runs import Run, TrainState, environment
from rowscan.training.tasks import task_type


def main() -> None:
    """Print a line for each share, then the test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--recipe", choices=("line", "page"), default="line")
    parser.add_argument("--shares", default="0.3,0.4,0.5,0.6,0.7,0.8,1")
    parser.add_argument("--output", type=Path, default=Path("runs/mean"))
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    recipe = change(find(arguments.recipe), {"start": arguments.second})
    task = task_type(recipe).prepare(recipe, device="cpu", offline=False)
    second = task.engine.weights()
    first = read_weights(arguments.first, task.kind, second)
    losses = {}
    for share in map(float, arguments.shares.split(",")):
        task.engine.load_weights(mean_of(first, second, share))
        found = task.monitor()
        losses[share] = found.loss
        print(f"{share:4.0%} of the second: {found.accuracy:.2%} right, loss {found.loss:.4f}")
    best = min(losses, key=losses.__getitem__)
    weights = mean_of(first, second, best)
    task.engine.load_weights(weights)
    run = Run.create(arguments.output, recipe)
    run.finish(task.finish(run, TrainState()), weights)
    print(f"\n{best:.0%} of the second is in {run.directory}", *task.summary(run), sep="\n")


if __name__ == "__main__":
    main()
