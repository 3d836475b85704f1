import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Command, Each
from rowscan.recipes import RECIPES
from rowscan.training.loop import resume

Trained = tuple[Path, subprocess.CompletedProcess[str]]

TRAIN = ["train", "lstm-rows", "--set", "hidden=16", "--set", "batch_size=20"]


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run made by the command itself, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "rowscan", *TRAIN, "--data", str(tiny)]
    done = subprocess.run(
        [*command, "--epochs", "4", "--output", "run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / "run", done


def test_training_prints_what_the_published_scripts_print_and_where_things_lie(
    trained: Trained,
) -> None:
    run, done = trained
    result = json.loads((run / "result.json").read_text())
    answers = [str(sample["answer"]) for sample in result["samples"]]
    assert f"prediction {' '.join(answers)}\n" in done.stdout
    assert re.search(r"^truth      \d( \d){9}$", done.stdout, re.M)
    assert f"accuracy   {result['accuracy']:.2%} of {result['n']:,} test images" in done.stdout
    assert "run/model.onnx" in done.stdout
    assert "run/report.html" in done.stdout
    assert re.search(r"^epoch 4/4: loss \d\.\d+, accuracy ", done.stderr, re.M)
    assert "\r" not in done.stderr  # plain lines where there is no terminal


@pytest.fixture(scope="module")
def evaluated(trained: Trained, tiny: Path) -> dict[str, Any]:
    command = ["evaluate", str(trained[0]), "--data", str(tiny), "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "rowscan", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_evaluate_reads_the_run_it_is_given(
    trained: Trained, evaluated: dict[str, Any], rowscan: Command, tiny: Path
) -> None:
    run, result = trained[0], evaluated
    assert result["n"] == 1200
    assert result["accuracy"] + result["error_rate"] == pytest.approx(1)
    assert 0 <= result["ece"] <= 1
    text = rowscan("evaluate", run / "model.onnx", "--data", tiny).stdout
    assert f"{result['accuracy']:.2%}" in text


def test_a_picture_is_the_same_in_either_polarity(
    trained: Trained, evaluated: dict[str, Any], rowscan: Command, tiny: Path, tmp_path: Path
) -> None:
    with np.load(tiny) as data:
        np.savez(tmp_path / "white.npz", images=255 - data["images"], labels=data["labels"])
    done = rowscan("evaluate", trained[0], "--data", "white.npz", "--format", "json")
    assert json.loads(done.stdout)["confusion"] == evaluated["confusion"]


def test_recipes_lists_each_and_shows_one(rowscan: Command) -> None:
    listed = rowscan("recipes").stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(RECIPES)
    assert 'base = "lstm-columns"' in rowscan("recipes", "lstm-columns").stdout


def test_reproduce_measures_on_the_images_of_the_claim(rowscan: Command) -> None:
    done = rowscan("reproduce", "mlp-numpy", "--seeds", "2", "--format", "json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["seeds"] == [0, 1]
    assert result["published"]["images"] == 10_000
    assert all(0.7 < accuracy < 0.97 for accuracy in result["accuracies"])  # some break
    assert result["verdict"] in ("typical", "lucky", "none")
    assert result["stands"] is (result["verdict"] == "typical")


def wrong(tmp_path: Path) -> list[tuple[list[str], int, str]]:
    """Wrong calls, what they say, and their exit status."""
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.png").write_bytes(b"")
    np.savez(tmp_path / "shapes.npz", images=np.zeros((3, 5), np.uint8), labels=np.zeros(3, int))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    return [
        (["train", "lstm-row"], 2, "did you mean 'lstm-rows'?"),
        (["train"], 2, "expected a recipe"),
        (["train", "lstm-rows", "--set", "epochs"], 2, "KEY=VALUE"),
        (["train", "lstm-rows", "--set", "epoch=1"], 2, "did you mean 'epochs'?"),
        (["train", "lstm-rows", "--data", "nowhere"], 1, "nowhere"),
        (["train", "lstm-rows", "--output", "full", "--data", "shapes.npz"], 1, "shapes.npz"),
        (["train", "--resume", "full"], 2, "full: not a run directory"),
        (["train", "lstm-rows", "--resume", "full"], 2, "leave out the other options"),
        (["reproduce", "lstm-rows"], 2, "reproduces no published system"),
        (["evaluate", "text.onnx"], 1, "text.onnx"),
        (["evaluate", "missing.onnx"], 1, "missing.onnx"),
        (["evaluate", "--data", "shapes.npz"], 1, "shapes.npz"),
        (["evaluate", "--data", "nowhere.npz"], 1, "nowhere.npz"),
        (["explain", "empty.png"], 1, "empty.png"),
        (["explain", "missing.png"], 1, "missing.png"),
    ]


def test_a_wrong_call_gets_one_line_and_its_exit_status(rowscan_each: Each, tmp_path: Path) -> None:
    calls = wrong(tmp_path)
    done = rowscan_each([arguments for arguments, _, _ in calls])
    for (arguments, status, reason), (found, printed, said) in zip(calls, done, strict=True):
        assert (found, printed) == (status, ""), arguments
        assert said.startswith("rowscan: "), arguments
        assert said.count("\n") == 1, arguments
        assert reason in said, arguments


def test_wrong_usage_of_the_command_itself_is_status_2(rowscan: Command) -> None:
    assert rowscan("evaluate", "--fromat", "json").returncode == 2
    assert rowscan("raed").returncode == 2


def test_a_full_disk_ends_with_one_line_and_a_run_that_resumes(
    rowscan: Command, tiny: Path, tmp_path: Path
) -> None:
    """A file-size limit stands for the full disk: writes fail with an error in mid-training."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        "from rowscan.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--epochs=2", "--data", str(tiny), "--output", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("rowscan: run/checkpoint.safetensors: ")
    assert resume(tmp_path / "run", quiet=True).result is not None


def test_explain_shows_a_line_a_row_and_draws(
    trained: Trained, rowscan: Command, tiny: Path, tmp_path: Path
) -> None:
    from PIL import Image

    run, _ = trained
    with np.load(tiny) as data:
        Image.fromarray(data["images"][0]).save(tmp_path / "digit.png")
    done = rowscan("explain", "digit.png", "--model", run, "--output", "belief.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "belief.png") as picture:
        assert picture.width > 300
    assert "belief.png" in done.stdout


def test_a_folder_of_which_nothing_can_be_read(rowscan: Command, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("filename,label\n1.png,12\n")
    done = rowscan("evaluate", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    missing, nothing = done.stderr.splitlines()
    assert missing.startswith(f"rowscan: {tmp_path / '1.png'}: ")
    assert nothing == f"rowscan: {tmp_path}: none of its pictures can be read"
