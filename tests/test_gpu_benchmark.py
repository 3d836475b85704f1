"""The benchmark of trainings on a GPU runs, here on the CPU and on a small scale."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def measure(data: Path, keep: Path, *more: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, str(SCRIPT), "--small", "--device", "cpu"]
    return subprocess.run(
        [*start, "--data", str(data), "--keep", str(keep), *more],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_part_runs_on_a_small_scale(tiny: Path, tmp_path: Path) -> None:
    only = ["--only", "kernels,sprint,lstm,sweep,line", "--set", "line.handwriting=false"]
    done = measure(tiny, tmp_path, *only)
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == []
    parts = {figure["name"].partition(":")[0] for figure in found["figures"]}
    assert parts == {"kernels", "sprint", "lstm-rows-b64", "sweep", "line"}
    assert all((tmp_path / name / "model.onnx").exists() for name in ("sweep", "line"))


def test_a_part_that_fails_or_has_no_time_stops_no_other(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_text("no archive")
    done = measure(damaged, tmp_path, "--only", "lstm,kernels")
    assert done.returncode == 1
    assert "lstm: FAILED: exit status 1" in done.stdout
    assert "kernels: error" in done.stdout
    assert "damaged.npz: cannot be read" in (tmp_path / "lstm.log").read_text()
    done = measure(damaged, tmp_path, "--only", "kernels", "--limit", "0")
    assert "no time is left" in done.stdout
