"""Learning from a review: it is a process of its own, and no model is used that nobody chose."""

import json
import time
from pathlib import Path

import pytest

from rowscan.errors import DataError
from rowscan.review.learning import Learning, State, _share
from rowscan.review.store import Store


def test_too_few_corrections_are_told_by_the_training_itself(tmp_path: Path) -> None:
    learning = Learning(tmp_path, Store(tmp_path), "shipped", lambda run: None)
    assert learning.to_dict()["status"] == "idle"
    learning.start()
    learning.start()  # there is one already
    while learning.to_dict()["status"] == "running":
        time.sleep(0.1)
    assert learning.to_dict()["status"] == "failed"
    assert "no picture in it is done" in learning.to_dict()["reason"]
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


def test_a_finished_training_is_offered_after_a_restart(tmp_path: Path) -> None:
    """Not one that went on from another model than the one in use, and not one that is used."""
    store = Store(tmp_path)
    for number, start in ((1, "elsewhere"), (2, "shipped"), (10, "shipped")):
        run = tmp_path / ".rowscan" / f"learned-{number}"
        run.mkdir(parents=True)
        recipe = {"start": start, "epochs": 2, "steps_per_epoch": 10}
        (run / "recipe.json").write_text(json.dumps(recipe))
        after = {"exact": 0.2 * (number != 2) + 0.6, "cer": 0.1}
        gained = {"n": 5, "before": {"exact": 0.6, "cer": 0.1}, "after": after}
        (run / "result.json").write_text(json.dumps({"documents": gained}))
    learning = Learning(tmp_path, store, "shipped", lambda run: None)
    assert learning.to_dict()["status"] == "better"
    assert learning.to_dict()["run"] == ".rowscan/learned-10"
    assert (learning.to_dict()["before"], learning.to_dict()["after"]) == (3, 4)
    learning.use("Anna")
    used = str(tmp_path / ".rowscan" / "learned-10")
    assert Learning(tmp_path, store, used, lambda run: None).to_dict()["status"] == "idle"


def test_a_training_says_how_far_it_is(tmp_path: Path) -> None:
    assert _share(tmp_path) == 0
    (tmp_path / "recipe.json").write_text(json.dumps({"epochs": 2, "steps_per_epoch": 10}))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 15}\n')
    assert _share(tmp_path) == 0.75
