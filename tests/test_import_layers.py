"""A module imports only what stands below it, and the light path stays light."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import beartype
import jaxtyping
import numpy as np
import pytest

from rowscan import arrays
from rowscan.recipes import describe
from rowscan.recognition.ctc import best_path

HEAVY = {"torch", "onnxruntime", "cv2", "matplotlib", "onnx", "PIL", "tensorflow", "pooch"}
CHECKS = {"jaxtyping", "beartype"}
FAR = {"ray", "fsspec", "pyarrow", "s3fs", "aiohttp", "pandas"}


ROOT = Path(__file__).parent.parent


def check_layers(source: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of pyproject.toml, for the package in this folder."""
    command = "from importlinter.cli import import_linter; import_linter()"
    return subprocess.run(
        [sys.executable, "-c", command, "lint", "--no-cache", "--no-logo", ROOT / "pyproject.toml"],
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"},
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_module_imports_only_what_stands_below_it() -> None:
    done = check_layers(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        (
            "io/storage",
            "from rowscan.reader import Reader",
            "rowscan.io is not allowed to import rowscan.reader",
        ),
        (
            "server/app",
            "from rowscan.training import loop",
            "rowscan.server is not allowed to import rowscan.training",
        ),
        (
            "errors",
            "def f():\n    import rowscan.scans",
            "rowscan.errors is not allowed to import rowscan.scans",
        ),
        (
            "training/runs",
            "from rowscan.training.loop import train",
            "rowscan.training.runs is not allowed to import",
        ),
        ("io/atomic", "from rowscan.io.storage import join", ".storage -> .atomic"),
        ("unheard_of", "", "unheard_of"),
    ],
)
def test_an_import_of_what_stands_above_is_found(
    module: str, line: str, said: str, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("*.onnx", "__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    with (tmp_path / "src" / "rowscan" / f"{module}.py").open("a") as file:
        file.write(f"\n{line}\n")
    done = check_layers(tmp_path / "src")
    assert done.returncode == 1, done.stderr
    assert said in done.stdout


def test_contributing_states_this_order_and_names_each_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {contract["id"]: contract.get("layers") for contract in contracts["contracts"]}
    assert "```\n" + "\n".join(layers["layers"][1:]) + "\n```" in text
    assert "```\n" + "\n".join(layers["training"]) + "\n```" in text
    listing = text.partition("\nsrc/rowscan/\n")[2].partition("```")[0]
    named, folders = set(), [""]
    for spaces, name in re.findall(r"^( +)(\S+)", listing, re.M):
        folders[len(spaces) // 2 :] = []
        if name.endswith("/"):
            folders.append(folders[-1] + name)
        else:
            named.add(folders[-1] + name)
    source = ROOT / "src" / "rowscan"
    files = {path.relative_to(source).with_suffix("").as_posix() for path in source.rglob("*.py")}
    assert named == {file for file in files if "/__init__" not in file}


def modules_after(code: str) -> set[str]:
    report = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import rowscan",
        "import rowscan.recipes, rowscan.scans",
        "import rowscan.cli",
        "from rowscan.cli import cli; cli.main(['recipes'], standalone_mode=False)",
        "from rowscan.cli import cli; cli.main(['--help'], standalone_mode=False)",
    ],
)
def test_help_and_recipes_import_nothing_heavy(code: str) -> None:
    assert modules_after(code) & (HEAVY | FAR | CHECKS) == set()


def test_reading_imports_no_training_framework() -> None:
    code = """
import numpy as np, rowscan
rowscan.Reader().classify(np.zeros((1, 28, 28), np.uint8))
import rowscan.batch.local, rowscan.batch.output_parts, rowscan.datasets.digits, rowscan.metrics
"""
    loaded = modules_after(code)
    assert "onnxruntime" in loaded
    assert loaded & {"torch", "onnx", "matplotlib", "tensorflow", "jinja2", "safetensors"} == set()
    assert loaded & (FAR | CHECKS) == set()


def test_here_each_call_is_checked_against_its_types() -> None:
    assert arrays.Float32 is jaxtyping.Float32
    with pytest.raises(jaxtyping.TypeCheckError):
        best_path(np.zeros((3, 11), np.int64))  # no probabilities
    with pytest.raises(beartype.roar.BeartypeCallHintParamViolation):
        describe("line")  # type: ignore[arg-type]  # no array among its types


@pytest.mark.parametrize(
    ("name", "engine", "absent"),
    [
        ("lstm-rows", "torch", {"tensorflow", "keras"}),
        ("mlp-numpy", "numpy", {"tensorflow", "keras", "torch"}),
        ("lstm-rows-tf", "tensorflow", {"torch"}),
    ],
)
def test_a_training_imports_no_other_framework(name: str, engine: str, absent: set[str]) -> None:
    loaded = modules_after(f"""
import rowscan.training.loop, rowscan.training.reproduce
from rowscan.recipes import find
from rowscan.training.engines.factory import create
assert find({name!r}).engine == {engine!r}
create(find({name!r}))
""")
    assert engine in loaded
    assert loaded & absent == set()


def test_the_public_names_are_these() -> None:
    import rowscan

    errors = ["DataError", "MissingExtraError", "ModelError", "OutputError", "RowscanError"]
    functions = ["evaluate", "explain", "load_digits", "normalise_digit", "open_image", "read"]
    functions += ["review"]  # a package that can be called
    errors += ["TooLargeError", "UnsupportedFormatError", "UsageError"]
    rest = ["Form", "Reader", "Reading", "__version__", "train"]
    assert sorted(rowscan.__all__) == sorted(errors + functions + rest)
    for name in rowscan.__all__:
        value = getattr(rowscan, name)
        assert name in ("__version__", getattr(value, "__name__", "").rpartition(".")[2])
    with pytest.raises(AttributeError, match="reed"):
        rowscan.reed  # noqa: B018
