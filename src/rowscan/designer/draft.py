"""Draft: a form that is being described: its blank pages, and its file, written at each change."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import PIL.Image

from rowscan.errors import DataError, OutputError, UsageError, reason_of
from rowscan.forms.blank import Blank
from rowscan.forms.codes import find
from rowscan.forms.proposals import propose
from rowscan.forms.specification import Field, Specification, convert, load, to_toml
from rowscan.io.atomic import write_atomically
from rowscan.io.pictures import open_pages, suffix

_SHOWN = frozenset({".png", ".jpg", ".jpeg"})
"""What browsers show, and what is used as it is."""


class Draft:
    """A form and the file that describes it.

    Attributes:
        path: the file.
        form: as the file has it.
    """

    def __init__(self, blank: Path, path: Path | None = None) -> None:
        """Open the file, or propose fields and write it.

        A PDF, or another picture that browsers do not show, is saved as PNG beside it, page by
        page.

        Args:
            blank: the picture of the empty form.
            path: the file; by default `form.toml` beside the picture.

        Raises:
            DataError: the picture or the file cannot be read.
            UsageError: the file describes another form; or there is none, but another picture is
                where a page would be saved.
            OutputError: a file cannot be written.
        """
        self.path = path or blank.parent / "form.toml"
        self.form: Specification
        pages = _pages(blank, self.path.parent, is_new=not self.path.exists())
        if self.path.exists():
            self.form = load(self.path)
            if list(self.form.pages) != pages:
                raise UsageError(
                    f"{self.path}: it describes another form, {self.form.name}; "
                    "name another file with --output"
                )
        else:
            fields: list[Field] = []
            codes: list[str] = []
            for number, page in enumerate(pages, start=1):
                (picture,) = open_pages(self.path.parent / page)
                code = find(Blank(picture).picture)
                codes.append(code.text if code is not None else "")
                for field in propose(picture):
                    name = f"{field.kind}_{len(fields) + 1}"
                    fields.append(msgspec.structs.replace(field, name=name, page=number))
            name = "".join(c if c.isalnum() or c in "-_" else "-" for c in blank.stem)
            self.form = Specification(
                name=name,
                pages=tuple(pages),
                codes=tuple(codes) if any(codes) else (),
                fields=tuple(fields),
            )
            self._write()

    def page(self, number: int) -> Path:
        """The picture of a page, from 1.

        Raises:
            DataError: there is no such page.
        """
        if not 1 <= number <= len(self.form.pages):
            raise DataError(None, f"expected a page from 1 to {len(self.form.pages)}")
        return self.path.parent / self.form.pages[number - 1]

    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each page."""
        sizes = []
        for number in range(1, len(self.form.pages) + 1):
            with PIL.Image.open(self.page(number)) as image:
                sizes.append(image.size)
        return sizes

    def change(self, values: dict[str, Any]) -> None:
        """Take a name and fields, and write the file; its pages and rules stay.

        Raises:
            DataError: one line that names the field and what is wrong with it; nothing is changed.
            OutputError: the file cannot be written.
        """
        kept = msgspec.to_builtins(self.form)
        wanted = {key: values[key] for key in ("name", "fields") if key in values}
        self.form = convert(kept | wanted, self.path.name)
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, to_toml(self.form))


def _pages(blank: Path, folder: Path, *, is_new: bool) -> list[str]:
    """The names of the pictures of the pages, beside the file."""
    if suffix(blank.name) in _SHOWN and blank.parent.resolve() == folder.resolve():
        next(open_pages(blank))  # it can be read
        return [blank.name]
    pages = list(open_pages(blank))
    names = []
    for number, picture in enumerate(pages, start=1):
        name = f"{blank.stem}.png" if len(pages) == 1 else f"{blank.stem}-{number}.png"
        names.append(name)
        if not (folder / name).exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(picture).save(folder / name)
            except OSError as error:
                reason = f"cannot be written: {reason_of(error)}"
                raise OutputError(folder / name, reason) from None
        elif is_new and not np.array_equal(next(open_pages(folder / name)), picture):
            raise UsageError(f"{folder / name}: another picture is there; rename one of them")
    return names
