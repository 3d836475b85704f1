import base64
import io
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from rowscan.errors import DataError, RowscanError
from rowscan.recipes import LSTMRecipe, Published, find
from rowscan.training.report import write_report

VOID = {"meta", "img", "br", "link", "input", "hr", "source"}


class Page(HTMLParser):
    """What a browser would find: elements that nest, their attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


RECORDS = [
    {
        "kind": "monitor",
        "epoch": 0,
        "step": 1,
        "on": "test",
        "images": 2,
        "accuracy": 0.5,
        "loss": 2.0,
    },
    {"kind": "step", "epoch": 0, "step": 50, "loss": 1.5, "accuracy": 0.5, "learning_rate": 0.01},
    {"kind": "step", "epoch": 0, "step": 90, "loss": 0.5, "accuracy": 0.875, "learning_rate": 0.01},
    {
        "kind": "monitor",
        "epoch": 0,
        "step": 90,
        "on": "test",
        "images": 2,
        "accuracy": 1.0,
        "loss": 1.0,
    },
    {"kind": "test", "images": 8, "accuracy": 0.75},
]


def tiny() -> dict[str, Any]:
    """Eight test images of one pixel each; image 3 is a 3 read as 8, image 5 a 5 read as 6."""
    images = np.zeros((8, 28, 28), np.uint8)
    images[np.arange(8), np.arange(8), 14] = 255
    labels = np.arange(8, dtype=np.uint8)
    answers, confidence = labels.copy(), np.full(8, 0.91)
    answers[3], confidence[3] = 8, 0.64
    answers[5], confidence[5] = 6, 0.82
    probabilities = np.repeat((1 - confidence[:, None]) / 9, 10, axis=1)
    probabilities[np.arange(8), answers] = confidence
    return {
        "recipe": find("lstm-rows-b64"),
        "records": RECORDS,
        "environment": {"python": "3.12.1", "machine": "a small one"},
        "probabilities": probabilities.astype(np.float32),
        "images": images,
        "labels": labels,
        "example": np.full((28, 28), 7, np.uint8),
        "example_label": 4,
        "seconds": 247.0,
    }


def written(path: Path, **changes: Any) -> tuple[str, Page]:
    write_report(path / "report.html", **(tiny() | changes))
    source = (path / "report.html").read_text(encoding="utf-8")
    return source, Page(source)


def pixels(attributes: Mapping[str, str]) -> np.ndarray:
    """Ink of a picture: how opaque it is."""
    head, _, data = attributes["src"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGBA"))[:, :, 3]


def test_page_is_whole_and_every_element_is_closed(tmp_path: Path) -> None:
    source, page = written(tmp_path)
    assert source.startswith("<!doctype html>")
    assert page.open == []
    ids = re.findall(r'\bid="([^"]*)"', source)
    links = re.findall(r'href="#([^"]*)"', source) + re.findall(r"url\(#([^)]*)\)", source)
    assert links
    assert len(set(ids)) == len(ids)
    assert set(links) <= set(ids)


def test_page_loads_nothing(tmp_path: Path) -> None:
    source, page = written(tmp_path)
    assert "//" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", source)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for key, value in attributes.items():
            if key in {"src", "href", "xlink:href", "data", "srcset", "action"}:
                assert value.startswith(("data:image/png;base64,", "#"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    assert "@import" not in source


def test_page_says_the_figures(tmp_path: Path) -> None:
    _, page = written(tmp_path)
    assert "75.00% of 8 test images read correctly; 95% interval 40.93% to 92.85%" in page.text
    assert "Training time 4 min 07 s" in page.text
    assert "Wrong answers 2 " in page.text
    assert "3 read as 8: 1×" in page.text
    assert "python 3.12.1 machine a small one" in page.text
    assert "learning rate 0.01" in page.text
    assert "prediction 0 1 2 8 4 6 6 7 truth 0 1 2 3 4 5 6 7" in page.text
    cells = {cell.get("title") for cell in page.all("td")}
    assert len(cells) == 100
    assert {"3 read as 8: 1", "5 read as 6: 1", "4 read as 4: 1", "8 read as 8: 0"} <= cells


def test_worst_mistakes_are_the_most_confident_ones(tmp_path: Path) -> None:
    _, page = written(tmp_path)
    mistakes = page.text.partition("Worst mistakes")[2].partition("Confusion")[0]
    assert re.findall(r"(\d) → (\d) ([\d.]+)%", mistakes) == [
        ("5", "6", "82.0"),
        ("3", "8", "64.0"),
    ]


def test_pictures_show_their_image_and_say_what_it_is(tmp_path: Path) -> None:
    _, page = written(tmp_path)
    example, *digits = page.all("img")
    np.testing.assert_array_equal(pixels(example), tiny()["example"])
    assert example["alt"] == "A training image: a handwritten 4"
    shown = [*range(8), 5, 3]
    assert len(digits) == len(shown)
    for attributes, index in zip(digits, shown, strict=True):
        np.testing.assert_array_equal(pixels(attributes), tiny()["images"][index])
        assert attributes["alt"].startswith(f"Test image {index}: a handwritten {index}, read as")
    drawings = [a["aria-label"] for a in page.all("div") if a.get("role") == "img"]
    assert drawings == [
        "Accuracy while learning: training from 50.00% to 87.50%; 2 test images from 50.00% to "
        "100.00%",
        "Loss while learning: training from 1.500 to 0.500; 2 test images from 2.000 to 1.000",
        "Reliability diagram, share correct at each mean confidence: "
        "0% of 1 at 64%, 0% of 1 at 82%, 100% of 6 at 91%",
    ]


def test_published_figure_stands_beside_the_one_on_as_many_images(tmp_path: Path) -> None:
    claim = Published(accuracy=0.99, images=4, claim="99% of four", source="a book")
    recipe = msgspec.structs.replace(tiny()["recipe"], published=claim)
    _, page = written(tmp_path, recipe=recipe)
    assert "Published 99% 99% of four This run 75.00% first 4 test images" in page.text
    assert "Source: a book" in page.text


@pytest.mark.parametrize(
    ("accuracy", "images", "verdict"),
    [
        (0.9, 8, "lies within"),
        (0.99, 8, "falls short"),
        (0.3, 8, "is better"),
        (None, 8, "gives no number"),
        (0.9, 9, "on 8 images only"),
    ],
)
def test_verdict(tmp_path: Path, accuracy: float | None, images: int, verdict: str) -> None:
    # Six of eight are right: 41% to 93%.
    claim = Published(accuracy=accuracy, images=images, claim="so much", source="a book")
    recipe = msgspec.structs.replace(tiny()["recipe"], published=claim)
    assert verdict in written(tmp_path, recipe=recipe)[1].text


def test_published_table_is_drawn_over_the_epochs(tmp_path: Path) -> None:
    records = [{"kind": "step", "epoch": e, "step": 90 * e + 90, "accuracy": 0.9} for e in range(3)]
    source, _ = written(tmp_path, recipe=find("lstm-columns"), records=records)
    assert ">published</text>" in source
    without = msgspec.structs.replace(find("lstm-columns"), published=None)
    assert ">published</text>" not in written(tmp_path, recipe=without, records=records)[0]


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    labels = tiny()["probabilities"].argmax(axis=1).astype(np.uint8)
    recipe = LSTMRecipe(name="own", summary="mine")
    _, page = written(tmp_path, recipe=recipe, records=[], labels=labels)
    assert "100.00% of 8 test images" in page.text
    assert "every test image was read correctly" in page.text
    assert "While learning" not in page.text
    assert "Published" not in page.text


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>'
    recipe = msgspec.structs.replace(tiny()["recipe"], name=evil, scan=evil, data=evil)
    source, page = written(tmp_path, recipe=recipe, environment={evil: evil})
    assert "<script" not in source
    assert page.text.count(evil) >= 5
    assert page.open == []


def test_as_many_samples_as_the_recipe_says_but_ten_at_least(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = np.zeros(60, np.uint8)
    wrong = np.tile(np.eye(10, dtype=np.float32)[1], (60, 1))
    many = {"images": noise, "labels": labels, "probabilities": wrong}
    for samples, shown in ((20, 20), (1, 10)):
        recipe = msgspec.structs.replace(tiny()["recipe"], samples=samples)
        source, page = written(tmp_path, recipe=recipe, **many)
        assert len(page.all("img")) == 1 + shown + 24
        assert len(source) < 400_000  # noise is the worst that a picture can be


def test_a_long_training_stays_light(tmp_path: Path) -> None:
    records = [
        {"kind": "step", "epoch": s // 900, "step": s, "loss": 1 / s, "accuracy": 1 - 1 / s}
        for s in range(50, 100_000, 50)
    ]
    assert len(written(tmp_path, records=records)[0]) < 400_000


def test_equal_runs_write_equal_reports(tmp_path: Path) -> None:
    assert written(tmp_path / "a")[0] == written(tmp_path / "b")[0]


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    written(tmp_path, seconds=1.0)
    _, page = written(tmp_path, seconds=7500.0)
    assert "Training time 2 h 05 min" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RowscanError, match=re.escape(str(tmp_path / "file"))):
        write_report(tmp_path / "file" / "report.html", **tiny())


def test_no_test_images_no_report(tmp_path: Path) -> None:
    none = {key: tiny()[key][:0] for key in ("images", "labels", "probabilities")}
    with pytest.raises(DataError):
        write_report(tmp_path / "report.html", **(tiny() | none))
    assert not (tmp_path / "report.html").exists()
