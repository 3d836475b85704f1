"""Training on several processes gives the result of one, and can be resumed after a failure."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torch import distributed

from rowscan.__main__ import main
from rowscan.datasets.digits import load_digits
from rowscan.recipes import DigitRecipe, LineRecipe, Recipe, change, find
from rowscan.training.engines.distributed import ProcessGroup, current_group, process_group
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import Engine
from rowscan.training.loop import resume, train
from rowscan.training.tasks.line.engine import LineEngine

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
RECIPES: dict[str, dict[str, object]] = {
    "lstm-rows": {"hidden": 12},
    "sweep": {"hidden": 8, "layers": 1, "batch_size": 21},
    "line": {"hidden": 8, "layers": 1, "batch_size": 7},
    "mlp": {"batch_size": 1},  # one of two ranks has an empty shard
}
# At the recipe's learning rate of 0.01, rounding errors grow to 2e-4 on such easy images.
HUNDRED = {"steps_per_epoch": 50, "epochs": 2, "learning_rate": 0.001}
LONG = {"steps_per_epoch": 400, "epochs": 2, "hidden": 16}


def command(recipe: str, output: str, settings: Mapping[str, object]) -> list[str]:
    changes = [word for item in settings.items() for word in ("--set", "{}={}".format(*item))]
    return ["train", recipe, "--output", output, *changes]


COMMANDS = {
    "hundred": command("lstm-rows", "hundred", HUNDRED),
    "numpy": command("mlp-numpy", "refused", {}),
    "misspelt": command("lstm-rowz", "refused", {}),
    "long": command("lstm-rows", "long", LONG),
}


def recipe_of(name: str) -> Recipe:
    base = change(find("mlp-numpy"), {"engine": "torch"}) if name == "mlp" else find(name)
    return change(base, RECIPES[name])


def weights_after_steps(name: str, data: Path, steps: int = 4) -> dict[str, np.ndarray]:
    """In one process, or with the others of the process group."""
    recipe = recipe_of(name)
    engine: Engine
    if isinstance(recipe, LineRecipe):
        engine = LineEngine(recipe, "cpu")
    else:
        assert isinstance(recipe, DigitRecipe)
        engine = create(recipe, "cpu")
    train = load_digits(data).train
    engine.load_images(train.images, train.labels)
    said = [
        engine.step(batch, 0.01) for batch, _ in zip(engine.order(0), range(steps), strict=False)
    ]
    figures = {"loss": np.array([loss for loss, _ in said])}
    return engine.weights() | figures | {"correct": np.array([right for _, right in said])}


def in_each_process(data: str) -> None:
    """All that needs two processes, one after the other: starting them takes longest."""
    with process_group("cpu") as group:
        world = weakref.ref(distributed.group.WORLD)
        for name in RECIPES:
            save_file(weights_after_steps(name, Path(data)), f"{name}-{group.rank}")
    assert world() is None, "a group that outlives the training may abort the process at its end"
    for name, words in COMMANDS.items():
        sys.argv[1:] = [*words, "--data", data]
        if name != "long":
            run_command(f"{name}-{group.rank}")
    main()


def run_command(name: str) -> None:
    """Keep what the command prints, and its status."""
    with (
        Path(f"{name}.out").open("w") as out,
        Path(f"{name}.err").open("w") as said,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as end,
    ):
        main()
    Path(f"{name}.status").write_text(str(end.value.code))


if __name__ == "__main__":
    in_each_process(sys.argv[1])


@dataclass(frozen=True)
class Ended:
    """What two processes left behind, after one of them was killed in the command `long`."""

    folder: Path
    status: int
    said: str

    def of_both(self, command: str, part: str) -> list[str]:
        return [(self.folder / f"{command}-{rank}.{part}").read_text() for rank in range(2)]


@pytest.fixture(scope="module")
def ended(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("processes")
    process = subprocess.Popen(
        [*TORCHRUN, "--nproc-per-node=2", __file__, str(tiny)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not (folder / "long" / "checkpoint.safetensors").exists():
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        time.sleep(0.02)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    _, said = process.communicate()
    return Ended(folder, process.returncode, said)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_shards_cover_a_batch_evenly(n: int, world: int) -> None:
    shards = [ProcessGroup(rank, world).shard(n) for rank in range(world)]
    assert [i for shard in shards for i in range(n)[shard]] == list(range(n))
    sizes = [shard.stop - shard.start for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_without_torchrun_the_group_has_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group("auto") as group:
        assert group == current_group() == ProcessGroup(0, 1)
        assert group.broadcast(lambda: 7) == 7


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_take_the_same_steps_as_one(name: str, ended: Ended, tiny: Path) -> None:
    expected = weights_after_steps(name, tiny)
    for rank in range(2):
        found = load_file(ended.folder / f"{name}-{rank}")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, 1e-5, 1e-5, err_msg=key)


def test_a_hundred_steps_on_two_processes_give_the_weights_of_one(
    ended: Ended, tiny: Path, tmp_path: Path
) -> None:
    assert ended.of_both("hundred", "status") == ["0", "0"]
    printed = ended.of_both("hundred", "out")
    assert [out.count("accuracy") for out in printed] == [1, 0]  # rank 0 alone prints
    recipe = change(find("lstm-rows"), HUNDRED)
    alone = train(recipe, data=tiny, output=tmp_path / "alone", quiet=True)
    expected = load_file(alone.directory / "weights.safetensors")
    found = load_file(ended.folder / "hundred" / "weights.safetensors")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4, rtol=0, err_msg=key)


def test_a_dead_process_ends_the_training_which_can_be_resumed(ended: Ended) -> None:
    assert ended.status != 0
    (line,) = [line for line in ended.said.splitlines() if line.startswith("rowscan: ")]
    assert line.endswith("continue with: rowscan train --resume long")
    assert "ended" in line
    # One process continues what the two began.
    run = resume(ended.folder / "long", quiet=True)
    assert run.result is not None
    assert (run.directory / "result.json").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("numpy", "the numpy engine trains in one process: leave out torchrun"),
        ("misspelt", "unknown recipe 'lstm-rowz'"),
    ],
)
def test_usage_errors_are_reported_once(command: str, reason: str, ended: Ended) -> None:
    assert ended.of_both(command, "status") == ["2", "2"]
    lines = "".join(ended.of_both(command, "err")).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("rowscan: ")
    assert reason in lines[0]
    assert not (ended.folder / "refused").exists()
