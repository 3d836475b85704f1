"""Rowscan reads handwritten digits as one reads text: in sequence, with recurrent networks.

All that a program needs is here: `import rowscan` loads nothing until a name is used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rowscan.datasets.digits import load_digits
    from rowscan.errors import (
        DataError,
        MissingExtraError,
        ModelError,
        OutputError,
        RowscanError,
        TooLargeError,
        UnsupportedFormatError,
        UsageError,
    )
    from rowscan.evaluation import evaluate
    from rowscan.explanation import explain
    from rowscan.forms.form import Form
    from rowscan.io.pictures import open_image
    from rowscan.reader import Reader, read
    from rowscan.reading import Reading
    from rowscan.review.notebook import review
    from rowscan.segmentation.digit import normalise_digit
    from rowscan.training.loop import train

__all__ = [
    "DataError",
    "Form",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "Reader",
    "Reading",
    "RowscanError",
    "TooLargeError",
    "UnsupportedFormatError",
    "UsageError",
    "__version__",
    "evaluate",
    "explain",
    "load_digits",
    "normalise_digit",
    "open_image",
    "read",
    "review",
    "train",
]


_HOMES = {
    "Form": "forms.form",
    "Reader": "reader",
    "Reading": "reading",
    "evaluate": "evaluation",
    "explain": "explanation",
    "load_digits": "datasets.digits",
    "normalise_digit": "segmentation.digit",
    "open_image": "io.pictures",
    "read": "reader",
    "train": "training.loop",
}
"""The modules of the public names; `review` is a package that can be called, all others are
errors."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'rowscan' has no attribute {name!r}")
    import contextlib
    from importlib import import_module

    from rowscan.errors import requires

    if name == "review":
        return import_module("rowscan.review")
    with requires("train", "training") if name == "train" else contextlib.nullcontext():
        return getattr(import_module(f"rowscan.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
