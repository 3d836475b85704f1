"""Review: a folder is read, what is doubtful corrected in a browser, and the corrections learned.

Its page needs the extra `rowscan[server]`. The package itself can be called: `rowscan.review(...)`
is `notebook.review`, so that the name is the same thing however the package was imported.
"""

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rowscan.reader import Reader
    from rowscan.review.notebook import Item, ReviewList


class _Callable(ModuleType):
    """A module that shows readings when it is called."""

    def __call__(
        self,
        readings: "Item | Iterable[Item] | ReviewList",
        *,
        reader: "Reader | None" = None,
    ) -> "ReviewList":
        """See `rowscan.review.notebook.review`."""
        from rowscan.review.notebook import review

        return review(readings, reader=reader)


sys.modules[__name__].__class__ = _Callable
