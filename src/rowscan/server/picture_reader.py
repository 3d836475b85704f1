"""Reading: the pictures of a request to the objects of its answer, within the limits.

Pictures are decoded by processes that have limits, so that one that asks for too much costs its own
request alone.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from rowscan.errors import DataError, MissingExtraError, TooLargeError
from rowscan.explanation import Explanation, explain
from rowscan.forms.form import Form, Forms
from rowscan.io.decoder import Decoder
from rowscan.io.raster import Request, decode
from rowscan.line_explanation import LineExplanation, Opened, explain_character, explain_line
from rowscan.reader import Reader
from rowscan.reading import Reading, unreadable
from rowscan.segmentation.binarize import WORKING_PIXELS, Picture
from rowscan.server.intake import File
from rowscan.server.limits import Limits
from rowscan.server.pictures import draw

_SMALL = 1_000_000  # pixels


@dataclass(frozen=True, kw_only=True)
class Options:
    """How pictures are read, as `Reader.read` takes it, and which page."""

    min_confidence: float = 0.0
    alphabet: str | None = None
    pattern: str | None = None
    show_other: bool = False
    page: int | None = None
    """From 1; None is all."""


def _is_small_png(content: bytes) -> bool:
    """Whether this is what the page sends; unlike others, PNG takes no longer than its pixels."""
    size = content[16:24]  # of the header chunk, which comes first
    width, height = (int.from_bytes(side, "big") for side in (size[:4], size[4:]))
    return content.startswith(b"\x89PNG\r\n\x1a\n") and width * height <= _SMALL


class PictureReader:
    """Reads the pictures of requests. As many threads may call it at a time as it has decoders."""

    def __init__(self, numbers: Reader, digits: Reader, limits: Limits, decoders: int) -> None:
        self._numbers, self._digits, self._limits = numbers, digits, limits
        self._all = [Decoder(limits.memory) for _ in range(decoders)]
        self._free = SimpleQueue[Decoder]()
        for decoder in self._all:
            decoder.start()
            self._free.put(decoder)

    def read(self, files: list[File], options: Options) -> dict[str, Any]:
        """The answer: the object of one page, or `pages` where there are several pages or files.

        A page that cannot be read is an entry with an error, unless it is all there is.

        Raises:
            DataError: the first page of the only file cannot be read.
            MissingExtraError: the same, for lack of a package.
            UsageError: an alphabet or a pattern that cannot be read.
        """
        deadline = time.monotonic() + self._limits.seconds
        pages = list[dict[str, Any]]()
        for file in files:
            path = "-" if len(files) == 1 else file.name
            before = len(pages)
            try:
                left = self._limits.pages - before
                for entry in self._pages(file.content, options, deadline, left):
                    pages.append({"path": path, **entry})
            except (DataError, MissingExtraError) as error:
                if not pages and len(files) == 1:
                    raise
                number = (options.page or 1) + len(pages) - before
                pages.append({"path": path, **unreadable(number, error.reason)})
        return pages[0] if len(pages) == 1 and len(files) == 1 else {"pages": pages}

    def _pages(
        self, content: bytes, options: Options, deadline: float, left: int
    ) -> Iterator[Mapping[str, Any]]:
        if left <= 0:
            raise TooLargeError("image", f"more than {self._limits.pages} pages in one request")
        request = Request(
            source=content,
            enough=WORKING_PIXELS,
            max_pixels=self._limits.pixels,
            max_pages=left if options.page is None else None,
            first=options.page or 1,
            count=None if options.page is None else 1,
        )
        found = 0
        with closing(self._decoded(request, deadline)) as opened:
            for reading in self._numbers.read_opened(
                opened,
                min_confidence=options.min_confidence,
                alphabet=options.alphabet,
                pattern=options.pattern,
                show_other=options.show_other,
                first=request.first,
                max_lines=self._limits.lines,
            ):
                yield reading.to_dict()
                found += 1
        if not found:
            raise DataError("image", f"it has no page {request.first}")

    def read_form(self, file: File, form: Form) -> dict[str, Any]:
        """The filled form in a file; `forms` where it has several.

        Raises:
            DataError: the file cannot be read.
        """
        request = Request(
            source=file.content,
            enough=WORKING_PIXELS,
            colour=False,
            max_pixels=self._limits.pixels,
            max_pages=self._limits.pages,
        )
        deadline = time.monotonic() + self._limits.seconds
        with closing(self._decoded(request, deadline)) as opened:
            found = [reading.to_dict() for reading in Forms([form]).read_opened(opened)]
        return found[0] if len(found) == 1 else {"forms": found}

    def explain(
        self, file: File, line: int | None = None, character: int | None = None
    ) -> Explanation | LineExplanation:
        """What the digit model believes of a picture of one digit; or of what is read in it.

        Args:
            file: the picture.
            line: what the line model believes of this line of the reading, from 1.
            character: what the digit model believes of this character of the line, from 1.

        Raises:
            DataError: as for `read`.
            UsageError: no such line or character.
        """
        if line is None:
            pixels, _ = self._page(file, colour=False)
            return explain(pixels, self._digits)
        opened = self._page(file)
        if character is None:
            return explain_line(opened, line, self._numbers)
        return explain_character(opened, line, character, self._numbers, self._digits)

    def draw(self, file: File, page: int) -> bytes | None:
        """A page as JPEG; None if there is no such page.

        Raises:
            DataError: as for `read`.
        """
        opened = self._open(file, page)
        return None if opened is None else draw(opened[0])

    def read_first(self, file: File) -> Reading:
        """The first page.

        Raises:
            DataError: as for `read`.
        """
        opened = iter([self._page(file)])
        return next(self._numbers.read_opened(opened, max_lines=self._limits.lines))

    def _page(self, file: File, *, colour: bool = True) -> Opened:
        opened = self._open(file, 1, colour=colour)
        if opened is None:
            raise DataError("image", "it has no pages")
        return opened

    def _open(self, file: File, page: int, *, colour: bool = True) -> Opened | None:
        request = Request(
            source=file.content,
            enough=WORKING_PIXELS,
            colour=colour,
            max_pixels=self._limits.pixels,
            first=page,
            count=1,
        )
        deadline = time.monotonic() + self._limits.seconds
        with closing(self._decoded(request, deadline)) as opened:
            return next(opened, None)

    def _decoded(
        self, request: Request, deadline: float
    ) -> Generator[tuple[Picture, tuple[int, int]], None, None]:
        """The pages: those of a small PNG, which cost little, without another process."""
        if isinstance(request.source, bytes) and _is_small_png(request.source):
            yield from decode(request)
            return
        decoder = self._free.get()
        try:
            yield from decoder.pages(request, deadline=deadline)
        finally:
            self._free.put(decoder)

    def close(self) -> None:
        """End the processes."""
        for decoder in self._all:
            decoder.close()
