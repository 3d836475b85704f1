"""Samples: pictures with their corrected texts, kept from the page to write on.

They are a reviewed folder: `rowscan review` opens it, and `rowscan train line --data` learns from
it. Nothing is written before the first sample.
"""

import hashlib
import secrets
from pathlib import Path

from rowscan.errors import OutputError, UsageError
from rowscan.io.atomic import write_atomically
from rowscan.io.raster import FORMATS, identify
from rowscan.reading import Box, Reading
from rowscan.review.changes import Author, Change
from rowscan.review.intake import model_version
from rowscan.review.store import Store
from rowscan.server.samples import Keeper

_SEPARATOR = " / "
_AUTHOR = Author("page", "page")
Text = tuple[str, str, str, Box]
"""Line, state, text and box of a `Change`."""


class Samples(Keeper):
    """A folder that samples are kept in. Threads may share it.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        """Prepare; `model` is the one that reads, by default the one that ships."""
        self.folder = folder
        self._model = model

    def keep(self, content: bytes, reading: Reading, text: str) -> int:
        """As in `Keeper`; a picture that is there already gets the new text."""
        lines = corrected(reading, text)
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / f"{digest[:16]}{_suffix(content)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(self.folder, str(error)) from None
        if not path.exists():
            write_atomically(path, content)
        store = Store(self.folder)
        status = path.stat()
        store.place(path.name, digest, status.st_size, status.st_mtime_ns)
        version = model_version(self._model)
        if not store.has_reading(digest, version):
            store.add_readings(digest, version, [reading.to_dict()])
        page = store.page(digest)
        changes = [Change(page, *line) for line in lines]
        store.correct(_AUTHOR, secrets.token_hex(), [*changes, Change(page, "", "done")])
        return len(store.entries())


def corrected(reading: Reading, text: str) -> list[Text]:
    """What becomes of each line that was read, where the whole is `text`.

    Raises:
        UsageError: not as many lines as were read, nor one alone.
    """
    texts = [part.strip() for part in text.split(_SEPARATOR)]
    if len(texts) == len(reading.lines):
        return [
            (
                str(i),
                "accepted" if said == line.text else "typed" if said else "deleted",
                said,
                line.box,
            )
            for i, (line, said) in enumerate(zip(reading.lines, texts, strict=True))
        ]
    if len(texts) > 1:
        expected = f"{len(reading.lines)} lines" if len(reading.lines) > 1 else "one line"
        raise UsageError(f"expected {expected}, parted by ' / ', got {len(texts)}")
    gone: list[Text] = [
        (str(i), "deleted", line.text, line.box) for i, line in enumerate(reading.lines)
    ]
    return [*gone, ("whole", "typed", texts[0], _around(reading))] if texts[0] else gone


def _around(reading: Reading) -> Box:
    """The box of all lines, or of the whole picture where there is none."""
    if not reading.lines:
        return 0, 0, reading.width, reading.height
    boxes = [line.box for line in reading.lines]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right = max(box[0] + box[2] for box in boxes)
    return left, top, right - left, max(box[1] + box[3] for box in boxes) - top


def _suffix(content: bytes) -> str:
    with identify(content) as image:
        return FORMATS.get(image.format or "", (".png",))[0]
