import numpy as np
import pytest

from rowscan.segmentation.bands import PageAnswer
from rowscan.segmentation.grids import find_grids

HEIGHT = 24.0


def answer(marks: np.ndarray) -> PageAnswer:
    """Of a model that calls these pixels other marks."""
    rows, columns = marks.shape
    probabilities = np.stack([1.0 - marks, 0.0 * marks, marks], -1).astype(np.float32)
    return PageAnswer(
        probabilities,
        np.zeros((rows // 2, columns // 2), np.float32),
        np.zeros((rows // 4, columns // 4, 3), np.float32),
    )


def ruled(tops: list[int], lefts: list[int]) -> np.ndarray:
    marks = np.zeros((400, 480), np.uint8)
    for y in tops:
        marks[y : y + 3, lefts[0] : lefts[-1] + 3] = 1
    for x in lefts:
        marks[tops[0] : tops[-1] + 3, x : x + 3] = 1
    return marks


@pytest.mark.parametrize(("rows", "columns"), [(9, 9), (2, 5), (6, 3)])
def test_a_grid_has_its_rows_and_columns(rows: int, columns: int) -> None:
    marks = ruled([20 + 40 * i for i in range(rows + 1)], [30 + 48 * j for j in range(columns + 1)])
    (grid,) = find_grids(answer(marks), HEIGHT)
    assert grid.shape == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            assert grid.place(54 + 48 * column, 40 + 40 * row) == (row, column)
    assert grid.place(5, 40) is None
    assert grid.place(60, 399) is None


def test_a_digit_that_parts_its_cell_changes_nothing() -> None:
    marks = ruled([20, 80, 140, 200], [20, 80, 140, 200])
    marks[80:143, 108:114] = 1  # a stroke from rule to rule
    (grid,) = find_grids(answer(marks), HEIGHT)
    assert grid.shape == (3, 3)
    assert grid.place(110, 110) == (1, 1)


def test_a_row_of_boxes_is_no_grid() -> None:
    assert find_grids(answer(ruled([20, 80], [20 + 50 * i for i in range(9)])), HEIGHT) == []


def test_two_tables_are_two() -> None:
    marks = ruled([20, 60, 100], [20, 80, 140]) | ruled([220, 260, 300, 340], [200, 280, 360])
    first, second = find_grids(answer(marks), HEIGHT)
    assert first.shape == (2, 2)
    assert second.shape == (3, 2)


def test_a_page_without_rules_has_none() -> None:
    assert find_grids(answer(np.zeros((64, 64), np.uint8)), HEIGHT) == []


def test_a_cell_that_spans_columns_begins_in_the_first() -> None:
    marks = ruled([20, 80, 140, 200], [20, 100, 180, 260])
    marks[83:140, 100:103] = 0  # the second row's first two cells are one
    (grid,) = find_grids(answer(marks), HEIGHT)
    assert grid.shape == (3, 3)
    assert grid.place(60, 110) == (1, 0)
