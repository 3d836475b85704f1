"""Specification: what `form.toml` says of a form, as typed values. It opens no picture.

Boxes are x, y, width and height in pixels of the picture of the blank form.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rowscan.errors import DataError, UsageError, reason_of
from rowscan.io.storage import read_bytes
from rowscan.reading import Box
from rowscan.recognition.pattern import compile_pattern

KINDS = ("digits", "number", "date", "choice", "tick", "text")
Kind = Literal["digits", "number", "date", "choice", "tick", "text"]
"""`digits`: an identifier, leading zeros kept. `number`: an amount, perhaps with decimals. `date`:
a day. `choice`: one of several boxes is marked. `tick`: a box is marked or not. `text`: kept as a
picture."""

DATE_PARTS = {"dd": 2, "mm": 2, "yyyy": 4, "yy": 2}
"""The parts of a date's format, and their digits."""

HEAD = ("path", "page", "form", "status", "confidence", "rules_broken")
"""The first columns of a table of filled forms, before its fields."""

PRINTABLE = "".join(map(chr, range(32, 127)))
"""What a pattern may be about."""

Name = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f=,]{1,60}$")]
_A_NAME = "expected 1 to 60 characters without spaces, = and commas"
PageNumber = Annotated[int, Meta(ge=1, le=100)]


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named place on a form, and what may be written there."""

    name: Name
    kind: Kind
    boxes: Annotated[tuple[Box, ...], Meta(min_length=1, max_length=100)]
    """One for the whole field; or of `digits`, `number` and `date` one for each character, from
    left to right; of `choice` one for each option."""
    page: PageNumber = 1
    """The page of the form that it is on."""
    digits: Annotated[int, Meta(ge=1, le=60)] | None = None
    """How many digits there are, at most."""
    decimals: Annotated[int, Meta(ge=0, le=9)] = 0
    """Of a `number` without a written decimal sign: how many of its digits are behind it."""
    format: str = "dd.mm.yyyy"
    """Of a `date`: the order of day, month and year."""
    options: tuple[str, ...] = ()
    """Of a `choice`: what its boxes stand for; by default their numbers, from 1."""
    pattern: str | None = None
    """A regular expression that the text must match, as `--pattern`."""
    range: tuple[float, float] | None = None
    """Of a `number` or `digits`: the smallest and the largest value."""
    required: bool = False
    """Whether a form on which it is empty is marked."""

    @property
    def choices(self) -> tuple[str, ...]:
        """What the boxes of a `choice` stand for."""
        return self.options or tuple(str(n) for n in range(1, len(self.boxes) + 1))


class Sum(msgspec.Struct, frozen=True, tag_field="rule", tag="sum", forbid_unknown_fields=True):
    """The value of one field is the sum of others."""

    field: str
    of: Annotated[tuple[str, ...], Meta(min_length=1)]


class CheckDigit(
    msgspec.Struct, frozen=True, tag_field="rule", tag="check_digit", forbid_unknown_fields=True
):
    """The last digit of a field is computed from the others."""

    field: str
    method: Literal["luhn", "mod11", "mod97"] = "luhn"


class Unique(
    msgspec.Struct, frozen=True, tag_field="rule", tag="unique", forbid_unknown_fields=True
):
    """No two forms have the same value in a field."""

    field: str


class Listed(msgspec.Struct, frozen=True, tag_field="rule", tag="list", forbid_unknown_fields=True):
    """The value of a field is in the first column of a file, a line each."""

    field: str
    file: str


Rule = Sum | CheckDigit | Unique | Listed


class Specification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form: its blank pages, its fields and what must hold between them."""

    name: Name
    pages: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    """The pictures of the blank form, a page each, beside the file."""
    codes: tuple[str, ...] = ()
    """What the QR or bar code of each page says, `*` for anything; "" for a page without one."""
    fields: tuple[Field, ...] = ()
    rules: tuple[Rule, ...] = ()


def load(path: str | Path) -> Specification:
    """The form that a file describes.

    Raises:
        DataError: the file cannot be read; or one line that names the file, the field and what is
            wrong with it.
    """
    try:
        values = tomllib.loads(read_bytes(path).decode())
    except UnicodeDecodeError:
        reason = "not a TOML file; `rowscan form new` makes one from the picture of a blank form"
        raise DataError(path, reason) from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(path, f"not a TOML file: {reason_of(error)}") from None
    return convert(values, path)


def files_of(path: Path, form: Specification) -> list[Path]:
    """The file that describes a form, and its blanks beside it."""
    return [path, *(path.parent / page for page in form.pages)]


def convert(values: dict[str, Any], path: str | Path) -> Specification:
    """The form that the values of a TOML file describe. As `load`."""
    for index, entry in enumerate(_tables(values, "fields"), start=1):
        name = entry.get("name")
        _converted(entry, Field, path, f"field {name!r}" if name else f"field {index}")
    for index, entry in enumerate(_tables(values, "rules"), start=1):
        _converted(entry, Rule, path, f"rule {index}")
    form: Specification = _converted(values, Specification, path, "")
    if form.codes and len(form.codes) != len(form.pages):
        raise DataError(path, f"codes: expected one for each page, got {len(form.codes)}")
    for field in form.fields:
        _check_field(field, form, path)
    _check_rules(form, path)
    return form


def _tables(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = values.get(key, [])
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _converted(values: object, kind: Any, path: str | Path, what: str) -> Any:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        key = place.rstrip("`").lstrip(".")
        said = [part for part in (what, key) if part]
        reason = reason.replace("`", "").replace("Object ", "it ")
        if "matching regex" in reason:
            reason = _A_NAME
        raise DataError(path, ": ".join([*said, reason[:1].lower() + reason[1:]])) from None


def _check_field(field: Field, form: Specification, path: str | Path) -> None:
    """What types do not say."""

    def wrong(key: str, reason: str) -> DataError:
        return DataError(path, f"field {field.name!r}: {key}: {reason}")

    if sum(other.name == field.name for other in form.fields) > 1:
        raise wrong("name", "another field has it too")
    if field.name in HEAD:
        raise wrong("name", "a column of the table has it already; choose another one")
    if field.page > len(form.pages):
        raise wrong("page", f"expected 1 to {len(form.pages)}, got {field.page}")
    for box in field.boxes:
        if min(box) < 0 or min(box[2:]) < 1:
            raise wrong("boxes", f"expected x, y, width and height of a box, got {list(box)}")
    if field.kind in ("tick", "text") and len(field.boxes) > 1:
        raise wrong("boxes", f"expected one, got {len(field.boxes)}")
    if field.kind == "choice" and field.options and len(field.options) != len(field.boxes):
        many = f"{len(field.options)} for {len(field.boxes)} boxes"
        raise wrong("options", f"expected one for each box, got {many}")
    if field.range is not None and field.range[0] > field.range[1]:
        raise wrong("range", "expected the smallest value first")
    if field.kind == "date" and date_parts(field.format) is None:
        raise wrong("format", f"expected dd, mm and yyyy or yy, got {field.format!r}")
    if field.pattern is not None:
        try:
            compile_pattern(field.pattern, PRINTABLE)
        except UsageError as error:
            raise wrong("pattern", error.reason) from None


def _check_rules(form: Specification, path: str | Path) -> None:
    kinds = {field.name: field.kind for field in form.fields}
    for number, rule in enumerate(form.rules, start=1):
        named = (rule.field, *rule.of) if isinstance(rule, Sum) else (rule.field,)
        for name in named:
            if name not in kinds:
                raise DataError(path, f"rule {number}: no field is named {name!r}")
            if isinstance(rule, Sum) and kinds[name] not in ("digits", "number"):
                raise DataError(path, f"rule {number}: field {name!r} is no number")


def date_parts(form: str) -> list[str] | None:
    """The parts of a date's format in their order; None if it is no format of a day."""
    parts: list[str] = []
    rest = form.lower()
    while rest:
        part = next((p for p in ("yyyy", "yy", "mm", "dd") if rest.startswith(p)), None)
        if part is None and rest[0].isalnum():
            return None
        if part is not None:
            parts.append(part)
        rest = rest[len(part or " ") :]
    return parts if sorted(part[0] for part in parts) == ["d", "m", "y"] else None


def to_toml(form: Specification) -> str:
    """The file that describes a form, with what is as by default left out."""
    lines = [f"name = {_value(form.name)}", f"pages = {_value(form.pages)}"]
    lines += [f"codes = {_value(form.codes)}"] if form.codes else []
    for field in form.fields:
        lines += ["", "[[fields]]", *_entries(field)]
    for rule in form.rules:
        lines += ["", "[[rules]]", f"rule = {_value(rule.__struct_config__.tag)}", *_entries(rule)]
    return "\n".join(lines) + "\n"


def _entries(struct: Field | Rule) -> list[str]:
    defaults = {f.name: f.default for f in msgspec.structs.fields(struct)}
    return [
        f"{key} = {_value(value)}"
        for key, value in msgspec.structs.asdict(struct).items()
        if value is not None and value != defaults[key]
    ]


def _value(value: object) -> str:
    """A value as TOML has it, which for these kinds is as JSON has it; a pattern as it is."""
    if isinstance(value, str) and "\\" in value and "'" not in value:
        return f"'{value}'"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    return msgspec.json.encode(value).decode()
