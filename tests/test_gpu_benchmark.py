"""The benchmark of trainings on a GPU runs, here on the CPU and on a small scale."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from rowscan.training.tasks.line import task as line_task

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark sets these in its own process, and here only until the test has ended."""
    monkeypatch.setattr(line_task, "MONITOR_BATCHES", 1)
    monkeypatch.setattr(line_task, "TEST_BATCHES", 1)


@pytest.mark.usefixtures("few_lines")
def test_every_part_runs_on_a_small_scale(tiny: Path, tmp_path: Path) -> None:
    benchmark = runpy.run_path(str(SCRIPT))
    changes = {"line": {"handwriting": "false"}}
    setting = benchmark["Setting"]("cpu", True, str(tiny), tmp_path, changes)
    found = {
        name: {figure.name.partition(":")[0] for figure in benchmark["PARTS"][name](setting)}
        for name in ("kernels", "sprint", "lstm", "sweep", "line")
    }
    assert found.pop("lstm") == {"lstm-rows-b64"}
    assert all(figures == {name} for name, figures in found.items())
    assert all((tmp_path / name / "model.onnx").exists() for name in ("sweep", "line"))


def test_a_part_that_fails_or_has_no_time_stops_no_other(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_text("no archive")
    done = measure(damaged, tmp_path, "lstm,kernels", "--set", "lstm-rows-b64.batch_size=9")
    assert done.returncode == 1
    assert "lstm: FAILED: exit status 1" in done.stdout
    assert "kernels: error" in done.stdout
    assert "damaged.npz: cannot be read" in (tmp_path / "lstm.log").read_text()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [failed["part"] for failed in found["failed"]] == ["lstm"]
    assert {figure["name"].partition(":")[0] for figure in found["figures"]} == {"kernels"}
    done = measure(damaged, tmp_path, "kernels", "--limit", "0")
    assert "no time is left" in done.stdout


def measure(data: Path, keep: Path, only: str, *more: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, str(SCRIPT), "--small", "--device", "cpu", "--only", only]
    return subprocess.run(
        [*start, "--data", str(data), "--keep", str(keep), *more],
        capture_output=True,
        text=True,
        check=False,
    )
