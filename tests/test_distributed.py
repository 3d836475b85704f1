"""Training on several processes gives the result of one, and can be resumed after a failure."""

import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torch import distributed

from rowscan.datasets.digits import load_digits
from rowscan.recipes import DigitRecipe, LineRecipe, Recipe, change, find
from rowscan.training.engines.distributed import ProcessGroup, current_group, process_group
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import Trainer
from rowscan.training.loop import train
from rowscan.training.tasks.line.engine import LineEngine

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
RECIPES: dict[str, dict[str, object]] = {
    "lstm-rows": {"hidden": 12},
    "sweep": {"hidden": 8, "layers": 1, "batch_size": 21},
    "line": {"hidden": 8, "layers": 1, "batch_size": 7},
    "mlp": {"batch_size": 1},  # one of two ranks has an empty shard
}


def torchrun(processes: int, *command: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={processes}", *map(str, command)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, said = process.communicate()
    assert process.returncode == 0, said
    return out


def recipe_of(name: str) -> Recipe:
    base = change(find("mlp-numpy"), {"engine": "torch"}) if name == "mlp" else find(name)
    return change(base, RECIPES[name])


def weights_after_steps(name: str, data: Path, steps: int = 4) -> dict[str, np.ndarray]:
    """In one process, or with the others of the process group."""
    recipe = recipe_of(name)
    engine: Trainer
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


if __name__ == "__main__":
    with process_group("cpu") as group:
        world = weakref.ref(distributed.group.WORLD)
        for name in RECIPES:
            found = weights_after_steps(name, Path(sys.argv[1]))
            save_file(found, f"{name}-{group.rank}")
    assert world() is None, "a group that outlives the training may abort the process at its end"


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


def test_two_processes_take_the_same_steps_as_one(tiny: Path, tmp_path: Path) -> None:
    finish(torchrun(2, __file__, tiny, cwd=tmp_path))
    for name in RECIPES:
        expected = weights_after_steps(name, tiny)
        for rank in range(2):
            found = load_file(tmp_path / f"{name}-{rank}")
            assert found.keys() == expected.keys(), name
            for key, value in expected.items():
                message = f"{name} {key}"
                np.testing.assert_allclose(found[key], value, 1e-5, 1e-5, err_msg=message)


COMMAND = ["-m", "rowscan", "train", "lstm-rows", "--data", "DATA", "--output", "run"]
# At the recipe's learning rate of 0.01, rounding errors grow to 2e-4 on such easy images.
HUNDRED = {"steps_per_epoch": 50, "epochs": 2, "learning_rate": 0.001}


def command(data: Path, *more: str) -> list[str]:
    return [str(data) if word == "DATA" else word for word in [*COMMAND, *more]]


def test_a_hundred_steps_on_two_processes_give_the_weights_of_one(
    tiny: Path, tmp_path: Path
) -> None:
    settings = [word for item in HUNDRED.items() for word in ("--set", "{}={}".format(*item))]
    out = finish(torchrun(2, *command(tiny, *settings), cwd=tmp_path))
    assert out.count("accuracy") == 1  # rank 0 alone prints
    recipe = change(find("lstm-rows"), HUNDRED)
    alone = train(recipe, data=tiny, output=tmp_path / "alone", quiet=True)
    expected = load_file(alone.directory / "weights.safetensors")
    found = load_file(tmp_path / "run" / "weights.safetensors")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4, rtol=0, err_msg=key)


def test_a_dead_process_ends_the_training_which_can_be_resumed(tiny: Path, tmp_path: Path) -> None:
    long = ["--set", "steps_per_epoch=400", "--epochs", "2", "--set", "hidden=16"]
    process = torchrun(2, *command(tiny, *long), cwd=tmp_path)
    run = tmp_path / "run"
    while not (run / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode != 0
    (line,) = [line for line in said.splitlines() if line.startswith("rowscan: ")]
    assert line.endswith("continue with: rowscan train --resume run")
    assert "ended" in line
    # One process continues what the two began.
    resumed = subprocess.run(
        [sys.executable, "-m", "rowscan", "train", "--resume", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "result.json").exists()


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("mlp-numpy", "the numpy engine trains in one process: leave out torchrun"),
        ("lstm-rowz", "unknown recipe 'lstm-rowz'"),
    ],
)
def test_usage_errors_are_reported_once(
    recipe: str, reason: str, tiny: Path, tmp_path: Path
) -> None:
    process = torchrun(2, "-m", "rowscan", "train", recipe, "--data", tiny, cwd=tmp_path)
    _, said = process.communicate()
    assert process.returncode != 0
    lines = [line for line in said.splitlines() if line.startswith("rowscan: ")]
    assert len(lines) == 1
    assert reason in lines[0]
    assert not (tmp_path / "runs").exists()
