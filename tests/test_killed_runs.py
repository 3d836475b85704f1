"""A run that is killed again and again ends with the file of an undisturbed one."""

import random
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import PIL.Image
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "forms"))

from make_forms import make

EXAMPLES = Path(__file__).parent.parent / "examples"
READ = [sys.executable, "-m", "rowscan", "read", "in", "--jobs", "2", "--output"]
KILLS = 20
CASES = {
    "csv": ("out.csv", ["--format", "csv"]),
    "jsonl": ("out.jsonl", ["--format", "jsonl"]),
    "xlsx": ("out.xlsx", ["--format", "xlsx"]),
    "form-parquet": ("out.parquet", ["--form", "forms/meter-card.toml"]),
    "form-xlsx": ("out.xlsx", ["--form", "forms/meter-card.toml"]),
}


def content(path: Path) -> object:
    """What is in a file, without the time at which a workbook was made."""
    if path.suffix != ".xlsx":
        return path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        return {name: parts.read(name) for name in parts.namelist() if "docProps" not in name}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, one of three pages, one damaged, and a form."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "in").mkdir()
    for number, path in enumerate(sorted((EXAMPLES / "digits").glob("*.png"))[:9]):
        shutil.copy(path, folder / "in" / f"{number}.png")
    seven = PIL.Image.open(EXAMPLES / "digits" / "7-13.png").convert("L")
    seven.save(folder / "in" / "4a.tif", save_all=True, append_images=[seven] * 2)
    (folder / "in" / "5a.png").write_bytes(b"bad")
    make(folder / "forms")
    shutil.copy(folder / "forms" / "meter-card.png", folder / "in" / "6a.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_at_any_moment(case: str, pictures: Path, tmp_path: Path) -> None:
    name, options = CASES[case]
    rng = random.Random(case)
    begun = time.monotonic()
    command = [*READ, str(tmp_path / "whole" / name), *options]
    whole = subprocess.run(command, cwd=pictures, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    assert whole.returncode == 1
    kills = finished = 0
    while kills < KILLS:
        output = tmp_path / str(finished) / name
        with subprocess.Popen(
            [*READ, str(output), *options], cwd=pictures, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                process.wait(rng.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            _, said = process.communicate()  # also what its workers say
        assert "Traceback" not in said
        if process.returncode >= 0:
            assert process.returncode == 1
            assert content(output) == content(tmp_path / "whole" / name)
            finished += 1
    output = tmp_path / str(finished) / name
    command = [*READ, str(output), *options]
    if not (output.suffix == ".xlsx" and output.exists()):
        last = subprocess.run(command, cwd=pictures, capture_output=True, text=True, check=False)
        assert last.returncode == 1, last.stderr
    assert content(output) == content(tmp_path / "whole" / name)
