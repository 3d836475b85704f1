import numpy as np
import pytest

from rowscan.segmentation.bands import PageAnswer
from rowscan.segmentation.grids import find_grids, table_cells, upside_down

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


def spanning(*, gap: bool) -> np.ndarray:
    """The first two cells of the second row are one; or the rule between them has a gap."""
    marks = ruled([20, 80, 140, 200], [20, 100, 180, 260])
    marks[100:120, 100:103] = 0
    if not gap:
        marks[83:140, 100:103] = 0
        marks[95:128, 60:140] |= np.indices((33, 80)).sum(0) % 9 < 3  # a number across it
    return marks


def test_a_cell_may_span_columns() -> None:
    (grid,) = find_grids(answer(spanning(gap=False)), HEIGHT)
    assert grid.shape == (3, 3)
    assert grid.spans == ((1, 0, 1, 2),)
    assert grid.place(60, 110) == grid.place(150, 110) == (1, 0)
    assert grid.places == [
        *[(0, j, 1, 1) for j in range(3)],
        *[(1, 0, 1, 2), (1, 2, 1, 1)],
        *[(2, j, 1, 1) for j in range(3)],
    ]


def test_a_gap_in_a_rule_joins_no_cells() -> None:
    (grid,) = find_grids(answer(spanning(gap=True)), HEIGHT)
    assert grid.spans == ()
    assert grid.place(150, 110) == (1, 1)


def whole(corners: np.ndarray) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side) for side in corners.tolist())
    return left, top, right - left, bottom - top


def test_cells_are_those_of_the_page_as_it_is_read() -> None:
    """A page of 3 × 2 cells, the last row one cell, above one of 2 × 2: turned by each quarter."""
    marks = ruled([20, 60, 100, 140], [20, 80, 140]) | ruled([220, 260, 300], [20, 80, 140])
    marks[103:140, 80:83] = 0
    upright = [
        *((i + 1, j + 1, 1, 1, 1) for i in range(2) for j in range(2)),
        (3, 1, 1, 2, 1),
        *((i + 4, j + 1, 1, 1, 2) for i in range(2) for j in range(2)),
    ]
    for quarter in range(4):
        grids = find_grids(answer(np.rot90(marks, -quarter)), HEIGHT)
        found = table_cells(grids, 90.0 * quarter, whole).values()
        read = sorted((c.row, c.column, c.rows, c.columns, c.table) for c in found)
        assert read == sorted(upright), quarter
        turned = table_cells(grids, 90.0 * quarter + 180, whole).values()
        assert sorted(upside_down(list(turned)), key=str) == sorted(found, key=str)
