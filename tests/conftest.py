"""What several test modules share: small data that a network can learn, and the command."""

import contextlib
import functools
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import numpy as np
import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
Each = Callable[[list[list[str]]], list[tuple[object, str, str]]]

# No test may depend on how fast the machine is that hour.
hypothesis.settings.register_profile(
    "rowscan",
    max_examples=50,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("rowscan")

_check_shapes = jaxtyping.jaxtyped
_NOT_PLAIN = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _check_types(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What checks each call: jaxtyping where arrays are, or else beartype alone.

    jaxtyping takes 20 µs a call, which of the small functions in a loop is nearly all of the time.
    Of a function that is never called no check is made: each process of the tests imports all.
    """

    def decorate(made: Any) -> Any:
        with contextlib.suppress(NameError):  # of a class that is defined below
            types = repr(typing.get_type_hints(made))
            if not isinstance(made, type) and "jaxtyping." not in types:
                return typechecker(made)
        return _check_shapes(made, typechecker=typechecker)

    def decorate_when_called(made: Any) -> Any:
        checked: Callable[..., Any] | None = None

        @functools.wraps(made)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal checked
            if checked is None:
                checked = decorate(made)
            return checked(*args, **kwargs)

        is_plain = inspect.isfunction(made) and not made.__code__.co_flags & _NOT_PLAIN
        return call if is_plain else decorate(made)

    return decorate_when_called


# What the import hook of `--jaxtyping-packages` applies.
jaxtyping.jaxtyped = _check_types  # type: ignore[assignment]


# Files of tests that take long, the longest first: so all workers end at about the same time.
LONGEST = [
    "cluster",
    "page_in_browser",
    "tensorflow_engine",
    "training",
    "own_documents",
    "review_page",
    "server",
    "distributed",
    "cli",
    "surroundings",
    "read_command",
    "gpu_benchmark",
    "documents",
    "line_training",
    "compiled_step",
    "augmentation",
    "review_forms",
    "pages",
    "lines",
]

# A shell starts what runs in its background with Ctrl-C ignored, and every process that the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for some tests wait: for Ray, for a browser, for a signal."""
    return min(5, (os.cpu_count() or 1) + 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Where tests run side by side, each of them and what it starts has one thread."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    order = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 1,200 easy images: digit d is a bar whose row and column tell d, and noise."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, 1200, dtype=np.uint8)
    images = rng.integers(0, 40, (1200, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 4 * (label // 2), 4 + 12 * (label % 2)
        image[row : row + 3, column : column + 10] = 255
    images[:, :2] = images[:, -2:] = 0
    images[:, :, :2] = images[:, :, -2:] = 0
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture
def rowscan(tmp_path: Path) -> Command:
    """Run the command as a user does, in an empty folder."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rowscan", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def rowscan_each(tmp_path: Path) -> Each:
    """Run the command several times in one process: status and output of each time.

    Of a wrong call nearly all of the time is the start of Python.
    """
    code = """
import contextlib, io, json, sys
from rowscan.__main__ import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    out, said = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            texts = (stream.buffer.getvalue().decode() for stream in (out, said))
            found.append((end.code, *texts))
print(json.dumps(found))
"""

    def run(calls: list[list[str]]) -> list[tuple[object, str, str]]:
        command = [sys.executable, "-c", code, json.dumps(calls)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        found = [(status, printed, said) for status, printed, said in json.loads(done.stdout)]
        assert len(found) == len(calls)
        return found

    return run


@pytest.fixture
def shown() -> Callable[[int], str]:
    """Read all that a pseudo-terminal shows, once its other side is closed; and close it."""

    def read(terminal: int) -> str:
        parts = []
        with contextlib.suppress(OSError):  # how Linux says that there is no more
            while part := os.read(terminal, 1 << 16):
                parts.append(part)
        os.close(terminal)
        return b"".join(parts).decode()

    return read


def without_seconds(said: str) -> str:
    """What a reading said on standard error, without the time in its last lines."""
    return re.sub(r", [\d.,]+ s$", "", said, flags=re.MULTILINE)
