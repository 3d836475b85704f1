"""The errors that Rowscan raises on purpose: each is one line that a person can act on.

Everything else that escapes is a fault of ours. The command prints these without a traceback.
"""

from importlib import import_module
from typing import Any


class RowscanError(Exception):
    """Something could not be done. The message names the thing and the reason, on one line."""


class UsageError(RowscanError):
    """What was asked for makes no sense: an unknown recipe, a wrong key, a wrong type."""


class DataError(RowscanError):
    """Data or a picture that is missing, damaged, or of the wrong kind."""


class ModelError(RowscanError):
    """A file that is no model file, or a model of the wrong kind."""


class MissingExtraError(RowscanError):
    """A part of Rowscan that is not installed; the message says what to install."""


def import_or_explain(module: str, purpose: str, extra: str = "train") -> Any:
    """A module of Rowscan's.

    Raises:
        MissingExtraError: a package that it needs is not installed; says what to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rowscan"):
            raise
        raise MissingExtraError(
            f"{purpose} needs {error.name}: pip install 'rowscan[{extra}]'"
        ) from None
