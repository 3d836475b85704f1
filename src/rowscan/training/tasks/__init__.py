"""One package a task: its engine, data, evaluation, ONNX graph and summary.

A new task is a new package here, a recipe type in `rowscan.recipes`, and a line in `task_type`.
"""

from rowscan.errors import requires
from rowscan.recipes import LineRecipe, PageRecipe, Recipe
from rowscan.training.tasks.interface import Task


def task_type(recipe: Recipe) -> type[Task]:
    """The task that the recipe trains for; imports what that task needs and nothing else.

    Raises:
        MissingExtraError: its framework is not installed.
    """
    if isinstance(recipe, LineRecipe):
        with requires("train", "training"):
            from rowscan.training.tasks.line.task import LineTask
        return LineTask
    if isinstance(recipe, PageRecipe):
        with requires("train", "training"):
            from rowscan.training.tasks.page.task import PageTask
        return PageTask
    from rowscan.training.tasks.digit.task import DigitTask

    return DigitTask
