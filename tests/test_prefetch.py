"""Batches composed by worker processes: order, equality, bounds, and how they end."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from rowscan.errors import DataError, RowscanError
from rowscan.training.engines.prefetch import Prefetch


@dataclass(frozen=True)
class Squares:
    """Slow for even numbers, so that workers finish out of order."""

    seed: int

    def __call__(self, number: int) -> tuple[int, np.ndarray, torch.Tensor]:
        time.sleep(0.02 * (number % 2 == 0))
        drawn = np.random.default_rng([self.seed, number]).integers(0, 256, (40, 1000), np.uint8)
        return number, drawn, torch.full((3,), number**2)


@dataclass(frozen=True)
class Failing:
    def __call__(self, number: int) -> int:
        if number == 3:
            raise DataError("a file", "is damaged")
        return number


@dataclass(frozen=True)
class Dying:
    def __call__(self, number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number


@dataclass(frozen=True)
class Threads:
    def __call__(self, number: int) -> tuple[int, int]:
        return torch.get_num_threads(), os.getpid()


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_batches_of_none(workers: int) -> None:
    with Prefetch(Squares(7), range(5, 25), workers=workers) as ahead:
        found = [*ahead]
    expected = [*Prefetch(Squares(7), range(5, 25), workers=0)]
    assert len(found) == len(expected) == 20
    for (n, array, tensor), (m, other, third) in zip(found, expected, strict=True):
        assert n == m
        np.testing.assert_array_equal(array, other)
        assert torch.equal(tensor, third)


def test_no_more_is_composed_than_there_is_room_for() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    with Prefetch(Squares(1), endless(), workers=2, depth=3) as ahead:
        for n in range(10):
            assert next(ahead)[0] == n
        assert taken <= 10 + 2 * 3


def test_an_error_comes_where_its_batch_would() -> None:
    with Prefetch(Failing(), range(6), workers=2) as ahead:
        assert [next(ahead) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match="a file: is damaged"):
            next(ahead)


def test_a_worker_that_dies_is_one_line() -> None:
    with (
        Prefetch(Dying(), range(3), workers=1) as ahead,
        pytest.raises(RowscanError, match=r"composes batches has ended \(exit status -9\)"),
    ):
        next(ahead)


def test_workers_use_one_thread_and_end_with_the_block() -> None:
    with Prefetch(Threads(), range(8), workers=2) as ahead:
        found = [*ahead]
    assert {threads for threads, _ in found} == {1}
    for _, process in found:
        assert process != os.getpid()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "composers.py").write_text("import os\n\ndef pid(n):\n    return os.getpid()\n")
    script = """
        import os, signal
        from composers import pid
        from rowscan.training.engines.prefetch import Prefetch

        # Without asking for __name__, as scripts are: a worker must not run this again.
        print(next(Prefetch(pid, range(99), workers=1)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    process = int(done.stdout)
    for _ in range(600):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker goes on")


def test_a_script_need_not_guard_its_main_part(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from rowscan.training.engines.prefetch import Prefetch\n"
        "with Prefetch(abs, [-1, -2], workers=1) as batches:\n"
        "    print(*batches)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("once\n1 2\n", "")
