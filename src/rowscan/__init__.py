"""Rowscan reads handwritten digits as one reads text: in sequence, with recurrent networks."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rowscan.datasets.digits import load_digits
    from rowscan.reader import Reader, read
    from rowscan.training.loop import train

__all__ = ["Reader", "__version__", "load_digits", "read", "train"]

_HOMES = {
    "Reader": "rowscan.reader",
    "load_digits": "rowscan.datasets.digits",
    "read": "rowscan.reader",
    "train": "rowscan.training.loop",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import rowscan` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rowscan' has no attribute {name!r}")
    from importlib import import_module

    from rowscan.errors import requires

    with requires("train", f"rowscan.{name}"):
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
