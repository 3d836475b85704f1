"""Trainings on one GPU: how fast, and how right what they train is.

    python benchmarks/gpu.py --data FOLDER [--only kernels,sprint] [--limit SECONDS] [--keep FOLDER]

FOLDER has MNIST's four files, or the folders that `$ROWSCAN_DATA` may have. Nothing is downloaded.
Each part runs in a process of its own, so that none can stop the others, and leaves its output in
PART.log. Prints a table, writes gpu.json, and fails where a figure is missed or a part fails. With
`--keep`, the trained runs stay there, and whatever has stopped early can be resumed.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[1] / "src"
SEEDS = 10
SMALL: dict[str, dict[str, Any]] = {
    "sprint": {"hidden": 8, "layers": 1, "epochs": 1, "batch_size": 100},
    "lstm-rows-b64": {"hidden": 8},
    "sweep": {"hidden": 8, "layers": 1, "epochs": 1, "batch_size": 64},
    "line": {"hidden": 8, "layers": 1, "epochs": 1, "batch_size": 16, "steps_per_epoch": 3},
    "page": {"hidden": 8, "layers": 1, "epochs": 1, "batch_size": 1, "steps_per_epoch": 2},
}
"""Changes with `--small`, which tells only whether everything runs."""


@dataclass(frozen=True)
class Figure:
    """One measurement, and what it has to be."""

    name: str
    value: float
    unit: str = ""
    reach: float | None = None
    aim: float | None = None
    more_is_better: bool = False

    @property
    def missed(self) -> bool:
        """Whether it has not reached what it has to."""
        if self.reach is None:
            return False
        return not (self.value >= self.reach if self.more_is_better else self.value <= self.reach)

    def line(self) -> str:
        """A row of the table."""
        wanted = [f"{'reach' if i == 0 else 'aim'} {x:g}" for i, x in enumerate(self.goals())]
        return (
            f"{self.name:38}{self.value:12.5g} {self.unit:9}{', '.join(wanted):24}"
            f"{'MISSED' if self.missed else ''}"
        ).rstrip()

    def goals(self) -> list[float]:
        """What is wanted."""
        return [x for x in (self.reach, self.aim) if x is not None]


@dataclass
class Setting:
    """What every part is told."""

    device: str
    small: bool
    data: str | None
    keep: Path
    changes: dict[str, dict[str, str]] = field(default_factory=dict)

    def recipe(self, name: str) -> Any:
        """The recipe, changed as asked for."""
        from rowscan.recipes import change, find

        values: dict[str, Any] = dict(SMALL.get(name, {})) if self.small else {}
        if self.data:
            values["data"] = self.data
        return change(find(name), values | self.changes.get(name, {}))

    def wanted(self, value: float | None) -> float | None:
        """A figure that holds only for the whole measurement."""
        return None if self.small else value


# --- Parts ----------------------------------------------------------------------------------------


def kernels(setting: Setting) -> Iterator[Figure]:
    """The recurrence that this device uses, against float64, and its time on a layer."""
    import torch

    from rowscan.scans import DIRECTIONS
    from rowscan.training.engines import recurrence

    cuda = setting.device == "cuda"
    used = recurrence._on_cuda() if cuda else recurrence._on_cpu()
    print("implementation:", type(used).__name__, flush=True)
    for dtype, most in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2))[: 2 if cuda else 1]:
        wrong = recurrence.disagreement(used, device=setting.device, dtype=dtype)
        yield Figure(f"kernels: error in {dtype}".replace("torch.", ""), wrong, "", most)
    yield Figure("kernels: in Triton", float(type(used).__name__ == "Kernels"), "", None)
    dtype = torch.bfloat16 if cuda else torch.float32
    shape = (7, 7, 8 if setting.small else 288, 12 * 64)
    y = torch.randn(shape, device=setting.device, dtype=dtype)
    h, out = used.forward(y, DIRECTIONS)
    for name, call in (
        ("forward", lambda: used.forward(y, DIRECTIONS)),
        ("backward", lambda: used.backward(y, h, out, DIRECTIONS)),
    ):
        seconds = timed(call, setting, 3 if setting.small else 50)
        yield Figure(f"kernels: {name} of a layer", 1e6 * seconds, "µs")


def timed(call: Callable[[], object], setting: Setting, times: int) -> float:
    """Mean seconds of a call, after three more."""
    for _ in range(3):
        call()
    wait(setting)
    start = time.perf_counter()
    for _ in range(times):
        call()
    wait(setting)
    return (time.perf_counter() - start) / times


def wait(setting: Setting) -> None:
    """Until the device has done all that it was told."""
    if setting.device == "cuda":
        import torch

        torch.cuda.synchronize()


def sprint(setting: Setting) -> Iterator[Figure]:
    """The recipe `sprint` with ten seeds, its data on the card and its graph captured before."""
    seeds = 1 if setting.small else SEEDS
    found = [pass_over("sprint", setting, seed) for seed in range(seeds)]
    for seed, (seconds, accuracy, steps) in enumerate(found):
        print(f"seed {seed}: {accuracy:.2%} in {seconds:.3f} s, {steps} steps", flush=True)
    seconds, accuracy, steps = (sum(column) / seeds for column in zip(*found, strict=True))
    reach, aim = (setting.wanted(value) for value in (0.5, 0.3))
    yield Figure("sprint: training, mean of seeds", seconds, "s", reach, aim)
    yield Figure("sprint: a step", 1e3 * seconds / steps, "ms")
    wanted = setting.wanted(0.99)
    yield Figure("sprint: accuracy, mean of seeds", accuracy, "", wanted, more_is_better=True)


def lstm(setting: Setting) -> Iterator[Figure]:
    """An epoch of `lstm-rows-b64`, its data on the card and its graph captured before."""
    seconds, accuracy, steps = pass_over("lstm-rows-b64", setting, 1)
    reach, aim = (setting.wanted(value) for value in (0.6, 0.3))
    yield Figure("lstm-rows-b64: its epoch", seconds, "s", reach, aim)
    yield Figure("lstm-rows-b64: a step", 1e3 * seconds / steps, "ms")
    wanted = setting.wanted(0.955)
    yield Figure("lstm-rows-b64: accuracy", accuracy, "", wanted, more_is_better=True)


def pass_over(name: str, setting: Setting, seed: int) -> tuple[float, float, int]:
    """Train all epochs of a digit recipe: seconds, accuracy on the test images, steps."""
    from rowscan.datasets.digits import load_digits
    from rowscan.recipes import change
    from rowscan.training.engines.factory import create
    from rowscan.training.engines.interface import predict_proba
    from rowscan.training.loop import learning_rate

    recipe = change(setting.recipe(name), {"seed": seed})
    digits = load_digits(recipe.data, offline=True)
    engine = create(recipe, setting.device)
    engine.load_images(digits.trainval.images, digits.trainval.labels)
    start_state = engine.state()
    batches = [batch for epoch in range(recipe.epochs) for batch in engine.order(epoch)]
    for size in {len(batch) for batch in batches}:
        some = next(batch for batch in batches if len(batch) == size)
        for _ in range(5):  # the graph of this size
            engine.step(some, 0.001)
    for warm in itertools.islice(engine.feed(iter(batches)), 0 if setting.small else 40):
        engine.step(warm, 0.001)
    engine.load_state(start_state)
    wait(setting)
    start = time.perf_counter()
    for step, fed in enumerate(engine.feed(iter(batches))):
        engine.step(fed, learning_rate(recipe, step, len(batches)))
    wait(setting)
    seconds = time.perf_counter() - start
    answers = predict_proba(engine, digits.test.images).argmax(1)
    return seconds, float((answers == digits.test.labels).mean()), len(batches)


def sweep(setting: Setting) -> Iterator[Figure]:
    """The digit model, as `rowscan train sweep` trains it."""
    result = trained("sweep", setting)
    reach, aim = (setting.wanted(value) for value in (60, 25))
    yield Figure("sweep: training", result.seconds, "s", reach, aim)
    yield Figure("sweep: accuracy", result.accuracy, "", setting.wanted(0.996), more_is_better=True)


def line(setting: Setting) -> Iterator[Figure]:
    """The number reader, as `rowscan train line` trains it; before, its steps and its composing."""
    yield from line_steps(setting)
    result = trained("line", setting)
    reach, aim = (setting.wanted(value) for value in (240, 150))
    yield Figure("line: training", result.seconds, "s", reach, aim)
    yield Figure("line: exact", result.exact, "")


def line_steps(setting: Setting) -> Iterator[Figure]:
    """How long a step takes when its lines are there, and how many lines are composed a second."""
    from rowscan.training.tasks import task_type

    recipe = setting.recipe("line")
    task = task_type(recipe).prepare(recipe, device=setting.device, offline=True)
    engine: Any = task.engine
    feed = engine.feed(engine.order(0))
    start = time.perf_counter()
    batches = [next(feed)]
    yield Figure("line: first batch after", time.perf_counter() - start, "s")
    start = time.perf_counter()
    batches += itertools.islice(feed, 2 if setting.small else 56)
    lines = sum(map(len, batches[1:])) / (time.perf_counter() - start)
    feed.close()
    yield Figure("line: composed", lines, "lines/s")
    for batch in batches:
        engine.step(batch, 1e-4)
    wait(setting)
    start = time.perf_counter()
    for batch in batches:
        engine.step(batch, 1e-4)
    wait(setting)
    yield Figure("line: a step", 1e3 * (time.perf_counter() - start) / len(batches), "ms")


def page(setting: Setting) -> Iterator[Figure]:
    """The page model, as `rowscan train page` trains it."""
    result = trained("page", setting)
    yield Figure("page: training", result.seconds, "s")


def trained(name: str, setting: Setting) -> Any:
    """The result of a training, which is resumed if it was begun."""
    from rowscan.training.loop import resume, train

    folder = setting.keep / name
    if setting.small and name == "line":
        from rowscan.training.tasks.line import task

        task.MONITOR_BATCHES = task.TEST_BATCHES = 1
    if (folder / "recipe.json").exists():
        run = resume(folder, device=setting.device, offline=True)
    else:
        recipe = setting.recipe(name)
        run = train(recipe, output=folder, device=setting.device, offline=True)
    print(run.result, flush=True)
    return run.result


PARTS: dict[str, Callable[[Setting], Iterator[Figure]]] = {
    part.__name__: part for part in (kernels, sprint, lstm, sweep, line, page)
}

# --- Running them ---------------------------------------------------------------------------------


def main() -> int:
    """Measure; 1 where a figure is missed or a part fails."""
    arguments = parsed()
    if arguments.part:
        return run_part(arguments)
    keep = Path(arguments.keep or tempfile.mkdtemp(prefix="rowscan-gpu-"))
    keep.mkdir(parents=True, exist_ok=True)
    figures, failed, started = [], [], time.monotonic()
    for part in arguments.only.split(","):
        left = arguments.limit - (time.monotonic() - started)
        found, reason = in_a_process(part, arguments, keep, left)
        figures += found
        for figure in found:
            print(figure.line(), flush=True)
        if reason:
            failed.append({"part": part, "reason": reason})
            print(f"{part}: FAILED: {reason}; see {keep / part}.log", flush=True)
    said = {"figures": [asdict(figure) for figure in figures], "failed": failed}
    (keep / "gpu.json").write_text(json.dumps(said, indent=1) + "\n")
    missed = [figure.name for figure in figures if figure.missed]
    print(f"{time.monotonic() - started:.0f} s; {len(missed)} missed, {len(failed)} failed")
    return 1 if missed or failed else 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="a folder, or an .npz of digits")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--limit", type=float, default=480, help="seconds for all parts")
    parser.add_argument("--keep", help="a folder for the runs, the logs and gpu.json")
    parser.add_argument("--set", action="append", default=[], metavar="RECIPE.KEY=VALUE")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="only whether everything runs")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not Path(arguments.data).exists():
        parser.error(f"{arguments.data}: not found")
    return arguments


def in_a_process(
    part: str, arguments: argparse.Namespace, keep: Path, seconds: float
) -> tuple[list[Figure], str]:
    """The figures of a part, as far as it came, and why it failed if it did."""
    if seconds <= 0:
        return [], "no time is left"
    result = keep / f"{part}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--part", part, *sys.argv[1:], "--keep", str(keep)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
    reason = ""
    with data_root(arguments.data) as root, (keep / f"{part}.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment | root, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            if process.wait(seconds):
                reason = f"exit status {process.returncode}"
        except subprocess.TimeoutExpired:
            reason = "out of time"
            stop(process)
        except BaseException:
            stop(process)
            raise
    if not result.exists():
        return [], reason or "no figures"
    return [Figure(**values) for values in json.loads(result.read_text())], reason


def stop(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C does, so that a run can be resumed; then for good."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def data_root(data: str) -> Iterator[dict[str, str]]:
    """The environment in which `mnist` is found in the folder."""
    folder = Path(data).resolve()
    if folder.is_file():
        yield {}
    elif (folder / "mnist").is_dir():
        yield {"ROWSCAN_DATA": str(folder)}
    else:
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "mnist").symlink_to(folder)
            yield {"ROWSCAN_DATA": root}


def run_part(arguments: argparse.Namespace) -> int:
    """In the process of a part: measure, and write what is found each time."""
    changes: dict[str, dict[str, str]] = {}
    for change in arguments.set:
        name, _, setting = change.partition(".")
        key, _, value = setting.partition("=")
        changes.setdefault(name, {})[key] = value
    data = str(Path(arguments.data).resolve()) if Path(arguments.data).is_file() else None
    keep = Path(arguments.keep)
    figures = []
    for figure in PARTS[arguments.part](
        Setting(arguments.device, arguments.small, data, keep, changes)
    ):
        figures.append(asdict(figure))
        print(figure.line(), flush=True)
        (keep / f"{arguments.part}.json").write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
