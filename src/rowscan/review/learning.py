"""Learning: a training on what was reviewed, in a process of its own, and what it gained.

A model is offered only if it reads more of the pages that were held back than the one in use, or as
many with fewer characters wrong. No model is ever deleted: the runs are in `.rowscan` in the
folder.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rowscan.errors import DataError
from rowscan.review.store import Store

RUNS = ".rowscan"
"""Hidden, so that it is no place of pictures."""


@dataclass(frozen=True)
class State:
    """What the learning is at."""

    status: str = "idle"
    """`idle`, `running`, `better`, `not better`, `failed` or `used`."""
    reason: str = ""
    """Why it failed."""
    held_back: int = 0
    """Pages that were not trained on."""
    before: int = 0
    """How many of them the model in use reads exactly,"""
    after: int = 0
    """and how many the new one."""
    run: str = ""
    """The run directory, from the folder."""
    share: float = 0.0
    """How much of a training is done, 0 to 1."""


class Learning:
    """Trainings on one folder, one at a time. Threads may share it."""

    def __init__(
        self, folder: Path, store: Store, start_model: str, on_use: Callable[[Path], None]
    ) -> None:
        """Prepare.

        Args:
            folder: the reviewed folder.
            store: its database.
            start_model: the model that is in use, as `--from` takes it.
            on_use: called with another run directory when that is to be used.
        """
        self._folder, self._store = folder, store
        self._model, self._on_use = start_model, on_use
        self._state = self._found()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def to_dict(self) -> dict[str, Any]:
        """The state, for the page."""
        state = self._state
        if state.status == "running":
            state = replace(state, share=_share(self._folder / state.run))
        return asdict(state)

    def start(self) -> None:
        """Begin a training, unless there is one."""
        with self._lock:
            if self._state.status == "running":
                return
            run = f"{RUNS}/learned-{1 + len(self._runs())}"
            command = [sys.executable, "-m", "rowscan", "train", "line"]
            if nice := shutil.which("nice"):  # the page stays quick
                command = [nice, *command]
            command += ["--data", str(self._store.path), "--from", self._model]
            command += ["--output", str(self._folder / run)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._state = State("running", run=run)
            threading.Thread(target=self._wait, args=(self._process, run), daemon=True).start()

    def stop(self) -> None:
        """End the training, if there is one; what it has done so far stays in its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()

    def use(self, user: str) -> None:
        """Read with the new model from now on; what was corrected stays as it is.

        Raises:
            DataError: there is none that is better.
        """
        with self._lock:
            if self._state.status != "better":
                raise DataError(None, "no better model was trained")
            run = self._folder / self._state.run
            self._store.use_model(self._state.run, user)
            self._model = str(run)
            self._state = replace(self._state, status="used")
        self._on_use(run)

    def _runs(self) -> list[Path]:
        """The run directories, the oldest first."""
        found = (self._folder / RUNS).glob("learned-*")
        return sorted(found, key=lambda run: (len(run.name), run.name))

    def _found(self) -> State:
        """What the last training gained, if it went on from the model in use and nobody has said.

        The service may have been stopped before anyone looked.
        """
        with contextlib.suppress(IndexError, OSError, KeyError, TypeError, ValueError):
            last = self._runs()[-1]
            recipe = json.loads((last / "recipe.json").read_text(encoding="utf-8"))
            if recipe["start"] == self._model:
                return gain(self._folder, f"{RUNS}/{last.name}")
        return State()

    def _wait(self, process: "subprocess.Popen[str]", run: str) -> None:
        _, said = process.communicate()
        if process.returncode:
            last = [line for line in said.replace("\r", "\n").splitlines() if line.strip()][-1:]
            reason = last[0].removeprefix("rowscan: ") if last else ""
            ended = process.returncode < 0
            self._state = State("idle" if ended else "failed", reason, run=run)
            return
        try:
            self._state = gain(self._folder, run)
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._state = State("failed", f"its result cannot be read: {error}", run=run)


def _share(run: Path) -> float:
    """How much of a training is done, by its last record; it still has to be measured then."""
    try:
        recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
        records = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        step = json.loads(records[-1])["step"]
        return float(step / (recipe["epochs"] * recipe["steps_per_epoch"]))
    except (OSError, IndexError, KeyError, TypeError, ValueError):
        return 0.0  # it has not begun, or is writing


def gain(folder: Path, run: str) -> State:
    """What a finished run gained, by its own result on the pages that were held back."""
    result = json.loads((folder / run / "result.json").read_text(encoding="utf-8"))
    found = result["documents"]
    before, after = (round(found[when]["exact"] * found["n"]) for when in ("before", "after"))
    more = (after, -found["after"]["cer"]) > (before, -found["before"]["cer"])
    return State("better" if more else "not better", "", found["n"], before, after, run)
