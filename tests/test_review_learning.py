"""Learning from a review: it is a process of its own, and no model is used that nobody chose."""

import time
from pathlib import Path

import pytest

from rowscan.errors import DataError
from rowscan.review.learning import Learning, State
from rowscan.review.store import Store


def test_too_few_corrections_are_told_by_the_training_itself(tmp_path: Path) -> None:
    learning = Learning(tmp_path, Store(tmp_path), "shipped", lambda run: None)
    assert learning.to_dict()["status"] == "idle"
    learning.start()
    learning.start()  # there is one already
    while learning.to_dict()["status"] == "running":
        time.sleep(0.1)
    assert learning.to_dict()["status"] == "failed"
    assert "expected at least 10 pictures to train on, got 0" in learning.to_dict()["reason"]
    assert learning.to_dict()["run"] == ".rowscan/learned-1"


def test_a_training_that_is_stopped_has_not_failed(tmp_path: Path) -> None:
    learning = Learning(tmp_path, Store(tmp_path), "shipped", lambda run: None)
    learning.start()
    learning.stop()
    while learning.to_dict()["status"] == "running":
        time.sleep(0.1)
    assert learning.to_dict()["status"] == "idle"


def test_a_better_model_is_used_once_somebody_says_so(tmp_path: Path) -> None:
    used: list[Path] = []
    store = Store(tmp_path)
    learning = Learning(tmp_path, store, "shipped", used.append)
    with pytest.raises(DataError, match="no better model"):
        learning.use("Anna")
    learning._state = State("better", held_back=5, before=3, after=4, run=".rowscan/learned-1")
    assert (store.model(), used) == (None, [])
    learning.use("Anna")
    assert (store.model(), used) == (".rowscan/learned-1", [tmp_path / ".rowscan" / "learned-1"])
    with pytest.raises(DataError, match="no better model"):
        learning.use("Anna")
