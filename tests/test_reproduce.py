"""What `rowscan reproduce` says of its runs. The trainings themselves are in test_cli."""

import json

import pytest

from rowscan.recipes import Published
from rowscan.training.reproduce import Reproduction, to_text


def measured(
    published: float | None, accuracies: tuple[float, ...], *, images: int = 10_000
) -> Reproduction:
    """Runs that read half a percent more of all 10,000 images than of the first `images`."""
    more = 0.005 if images < 10_000 else 0.0
    return Reproduction(
        recipe="mlp-numpy",
        published=Published(accuracy=published, images=images, claim="a claim", source="a page"),
        seeds=tuple(range(len(accuracies))),
        accuracies=accuracies,
        test_accuracies=tuple(accuracy + more for accuracy in accuracies),
        test_images=10_000,
        seconds=(1.0,) * len(accuracies),
    )


def test_several_runs_have_median_quartiles_verdict_and_outliers() -> None:
    one = measured(0.9623, (0.9599, 0.9579, 0.7804, 0.9641, 0.9600))
    result = json.loads(json.dumps(one.to_dict()))
    assert result["published"] == {"accuracy": 0.9623, "images": 10_000}
    assert result["accuracies"] == result["test_accuracies"] == list(one.accuracies)
    assert (result["median"], result["best"]) == pytest.approx((0.9599, 0.9641))
    assert result["quartiles"] == pytest.approx([0.9579, 0.9600])
    assert (result["verdict"], result["stands"], result["reaching"]) == ("lucky", False, 1)
    assert result["outliers"] == 1
    assert to_text([one]).splitlines()[:-2] == [
        "mlp-numpy, seeds 0 to 4, 1.0 s a run",
        "published  96.23% of all 10,000 test images",
        "measured   median 95.99%, quartiles 95.79% and 96.00%, best 96.41%",
        "verdict    1 of 5: a lucky run reaches it, the typical one does not",
        "outliers   1 of 5 far below the median: under 95.10% of all 10,000",
        "runs       95.99% 95.79% 78.04% 96.41% 96.00%",
    ]


def test_one_run_has_no_spread_and_a_careful_verdict() -> None:
    one = measured(0.96, (0.9585,), images=2000)
    result = one.to_dict()
    assert (result["verdict"], result["stands"], result["outliers"]) == ("missed", False, None)
    text = to_text([one])
    assert "seed 0," in text
    assert "measured   95.85%\nall 10,000 96.35%\n" in text
    assert "0 of 1: this run misses it" in text
    assert "outliers" not in text
    assert measured(0.95, (0.9585,)).to_dict()["stands"] is True


def test_without_a_published_figure_there_is_no_verdict() -> None:
    one = measured(None, (0.95, 0.96, 0.97))
    result = one.to_dict()
    assert [result[key] for key in ("verdict", "stands", "reaching")] == [None] * 3
    assert (result["median"], result["outliers"]) == (0.96, 0)
    text = to_text([one])
    assert "published  no figure\n" in text
    assert "verdict" not in text


def test_the_paragraphs_of_many_systems_fit_a_terminal() -> None:
    text = to_text([measured(0.9623, (0.9599,) * 20), measured(None, (0.94,) * 5, images=2000)])
    first, second, machine = text.split("\n\n")
    assert first.startswith("mlp-numpy, seeds 0 to 19")
    assert second.startswith("mlp-numpy, seeds 0 to 4")
    assert " cores, " in machine
    assert max(map(len, text.splitlines())) <= 91
