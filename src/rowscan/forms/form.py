"""Form: a form by its `form.toml`, and what is read on pictures of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rowscan.errors import DataError, UsageError
from rowscan.forms.blank import FEATURE_PIXELS, Blank, Features, Grey, find_features
from rowscan.forms.codes import matches
from rowscan.forms.fields import Part, cut_out, read_parts, words_found
from rowscan.forms.registration import MIN_INLIERS, Laid, Match, lay, match, read_code
from rowscan.forms.results import FieldReading, FormReading
from rowscan.forms.rules import broken
from rowscan.forms.specification import Specification, load
from rowscan.io.pictures import Source, open_reduced
from rowscan.reader import Reader
from rowscan.reading import Box
from rowscan.segmentation.binarize import WORKING_PIXELS, Picture

_SHOWN = 60  # characters of a code that an error tells
_THERE = 0.5  # of the fields of a page: where the print around fewer is found it is another form
_SECOND = 0.5  # of the inliers of the best blank: one with as many is laid too, and compared


class Form:
    """A form that was printed, and filled in many times."""

    def __init__(
        self, path: str | Path, *, model: str | Path | None = None, reader: Reader | None = None
    ) -> None:
        """Open a form.

        Args:
            path: its `form.toml`; the pictures of the blank are beside it.
            model: a line model, as for `Reader`.
            reader: reads lines and digits; by default a new one with `model`.

        Raises:
            DataError: the file or a blank cannot be read, or the file is wrong.
            ModelError: the model cannot be opened.
        """
        self.path = Path(path)
        self.specification: Specification = load(path)
        self.blanks = [Blank.open(self.path.parent / name) for name in self.specification.pages]
        self._check_codes()
        self.reader = reader or Reader(model)

    @property
    def name(self) -> str:
        """As `form.toml` has it."""
        return self.specification.name

    def _check_codes(self) -> None:
        """Raise a DataError if a blank does not show the code that the file names."""
        for number, blank in enumerate(self.blanks, start=1):
            if name := self.code(number):
                if blank.code is None:
                    raise DataError(self.path, f"codes: page {number} shows no QR or bar code")
                if not matches(blank.code.text, name):
                    said = blank.code.text
                    raise DataError(self.path, f"codes: the code of page {number} says {said!r}")

    def code(self, number: int) -> str:
        """What the code of a page says, from 1; empty if it has none."""
        return self.specification.codes[number - 1] if self.specification.codes else ""

    def read(self, source: Source) -> FormReading:
        """What is written on the form in a picture; the first one of a document.

        Returns:
            A reading with the status `error` if the picture does not show this form.

        Raises:
            DataError: not a picture, or a damaged one.
        """
        return next(self.read_all(source))

    def read_all(self, source: Source) -> Iterator[FormReading]:
        """What is written on each form of a document, one after the other. As `read`."""
        return Forms([self]).read_all(source)


@dataclass(frozen=True, eq=False)
class _Page:
    """A page of a document, laid upon the blank that it shows."""

    form: Form
    number: int
    """Of the form, from 1."""
    laid: Laid
    parts: Sequence[Part]
    zoom: float = 1.0
    """Pixels of the original picture for one of the picture that was decoded, perhaps reduced."""

    size: tuple[int, int] = (0, 0)
    """Width and height of the original picture."""

    @property
    def share(self) -> float:
        """Of its fields those whose surroundings were found."""
        return sum(part.is_there for part in self.parts) / max(len(self.parts), 1)

    @property
    def score(self) -> float:
        """How well the print around the fields is found."""
        return sum(part.score for part in self.parts) / max(len(self.parts), 1)


_Matched = tuple[Form, int, Match]
"""A form, the number of a page of it, and how that may be in a picture."""


class Forms:
    """Several forms, which are told apart by what is printed on them."""

    def __init__(self, forms: Sequence[Form]) -> None:
        """Forms with different names.

        Raises:
            UsageError: two forms have one name.
        """
        self.forms = tuple(forms)
        names = [form.name for form in forms]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two forms are named {name!r}: change the name in one form.toml")

    @classmethod
    def open(cls, paths: Sequence[Path], model: Path | None = None, threads: int = 1) -> "Forms":
        """Open the forms in some files, with one reader."""
        reader = Reader(model, threads=threads)
        return cls([Form(path, reader=reader) for path in paths])

    def read_all(self, source: Source) -> Iterator[FormReading]:
        """What is written on each form of a document.

        Pages belong to one form until a page of another one comes, or one that it has already.

        Yields:
            A reading for each form, and one with the status `error` for each page without one.
        """
        yield from self.read_opened(open_reduced(source, WORKING_PIXELS, colour=False))

    def read_opened(
        self, opened: Iterable[tuple[Picture, tuple[int, int]]]
    ) -> Iterator[FormReading]:
        """As `read_all`, of pages that are open: grey levels, and the size of each page."""
        pages: dict[int, tuple[int, _Page]] = {}
        for number, (picture, size) in enumerate(opened, start=1):
            found = self._find(picture)
            first = next(iter(pages.values()), None)
            over = isinstance(found, str) or found.number in pages
            if first is not None and (
                over or (isinstance(found, _Page) and found.form is not first[1].form)
            ):
                yield _form_reading(pages)
                pages = {}
            if isinstance(found, str):
                yield FormReading("", number, error=found, sizes={number: size})
            else:
                zoom = size[0] / picture.shape[1]
                pages[found.number] = number, replace(found, zoom=zoom, size=size)
        if pages:
            yield _form_reading(pages)

    def _find(self, picture: Grey) -> _Page | str:
        """The page that a picture shows; or one line that says why there is none.

        Where a field is not found, more features are looked for: strongly bent paper is laid right
        by these.
        """
        best: _Page | str = ""
        for pixels in FEATURE_PIXELS:
            found = self._find_among(picture, find_features(picture, pixels))
            if isinstance(best, str) or (isinstance(found, _Page) and found.score > best.score):
                best = found
            if isinstance(best, _Page) and best.share == 1:
                break
        return best

    def _find_among(self, picture: Grey, features: Features) -> _Page | str:
        """As `_find`, by some features of the picture."""
        matched = self._matched(picture, features)
        if not matched:
            return f"not {self._named()}: its print is not found"
        enough = _SECOND * matched[0][2].inliers
        laid = [_laid(picture, *one) for one in matched[:2] if one[2].inliers >= enough]
        named = _named_by_code(picture, laid, matched)
        if isinstance(named, str):
            return f"not {self._named()}: {named}"
        best = named or max(laid, key=lambda page: page.score)
        if best.share < _THERE:
            return (
                f"not {self._named()}: the print is found around {best.share:.0%} of the fields "
                f"of {best.form.name!r}"
            )
        if (share := words_found(best.laid)) < _THERE:
            return (
                f"not {self._named()}: {share:.0%} of the words of {best.form.name!r} are found; "
                "it may be another edition"
            )
        return best

    def _matched(self, picture: Grey, features: Features) -> list[_Matched]:
        """The blanks that have enough features in common with a picture, the most first."""
        size = (picture.shape[1], picture.shape[0])
        found = [
            (form, number, matched)
            for form in self.forms
            for number, blank in enumerate(form.blanks, start=1)
            if (matched := match(features, size, blank)) and matched.inliers >= MIN_INLIERS
        ]
        return sorted(found, key=lambda candidate: -candidate[2].inliers)

    def _named(self) -> str:
        return " or ".join(form.name for form in self.forms[:3]) + " …" * (len(self.forms) > 3)


def _named_by_code(
    picture: Grey, laid: Sequence[_Page], matched: Sequence[_Matched]
) -> _Page | str | None:
    """The page that the code in a picture names; or why it is none; None where no code tells.

    Args:
        picture: the picture.
        laid: the pages that are likely. Each code is looked for where its blank has it.
        matched: all pages that are possible.
    """
    coded = [page for page in laid if page.form.code(page.number)]
    said = next((text for page in coded if (text := read_code(page.laid))), None)
    if said is None:
        return "its code cannot be read, and forms look alike" if len(coded) > 1 else None
    for page in coded:
        if matches(said, page.form.code(page.number)):
            return page
    for form, number, found in matched:
        if form.code(number) and matches(said, form.code(number)):
            return _laid(picture, form, number, found)
    return f"its code says {said[:_SHOWN]!r}"


def _laid(picture: Grey, form: Form, number: int, found: Match) -> _Page:
    laid = lay(picture, found)
    fields = [field for field in form.specification.fields if field.page == number]
    return _Page(form, number, laid, [cut_out(laid, field) for field in fields])


def _form_reading(pages: Mapping[int, tuple[int, _Page]]) -> FormReading:
    """The fields of all pages of one form, in the order of `form.toml`."""
    form = next(iter(pages.values()))[1].form
    found: dict[str, FieldReading] = {}
    for number, page in pages.values():
        for name, reading in read_parts(page.parts, page.laid, form.reader).items():
            found[name] = _scaled(replace(reading, page=number), page.zoom)
    for field in form.specification.fields:
        if field.name not in found:  # on a page that is missing
            found[field.name] = FieldReading(field.name, "", 0.0, "unreadable", (0, 0, 0, 0))
    fields = {field.name: found[field.name] for field in form.specification.fields}
    rules = broken(form.specification, fields, form.path.parent)
    sizes = {number: page.size for number, page in pages.values()}
    return FormReading(form.name, min(sizes), fields, rules, sizes=sizes)


def _scaled(reading: FieldReading, zoom: float) -> FieldReading:
    """A field with its places in pixels of the original picture."""

    def scaled(box: Box) -> Box:
        x, y, width, height = (round(zoom * side) for side in box)
        return x, y, width, height

    return replace(
        reading,
        box=scaled(reading.box),
        corners=tuple((zoom * x, zoom * y) for x, y in reading.corners),
        characters=tuple(replace(one, box=scaled(one.box)) for one in reading.characters),
    )
