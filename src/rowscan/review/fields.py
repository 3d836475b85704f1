"""Fields: filled forms in a review. They are kept as pages whose lines are fields.

It says how a form becomes such a page, and what stands in its fields once people have corrected
them. The rules that a form breaks are those of what stands there now.
"""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from rowscan.batch.journal import digest
from rowscan.errors import UsageError
from rowscan.forms.results import Broken, FieldReading, FormReading
from rowscan.forms.rules import broken
from rowscan.forms.specification import Field, Specification, Sum, Unique, files_of, load
from rowscan.forms.values import ALPHABETS, checked, expected
from rowscan.reading import SURE, unreadable
from rowscan.review.store import Store

DECIDED = ("accepted", "typed")
"""States of a line on which somebody has decided."""
AS_TEXT = tuple(ALPHABETS)
"""Kinds of fields that are read as text; a model learns from these."""
_NOWHERE = (0, 0, 0, 0)
Line = Mapping[str, Any]
"""A line as `Store.lines` gives it."""


class ReviewedForms:
    """The forms that the pictures of a folder are laid upon.

    Attributes:
        paths: of their `form.toml`.
        specifications: what these say.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open forms.

        Raises:
            DataError: a `form.toml` is wrong, or cannot be read.
            UsageError: two forms have one name.
        """
        self.paths = tuple(paths)
        self.specifications = tuple(load(path) for path in paths)
        self._folders = {
            form.name: (form, path.parent)
            for form, path in zip(self.specifications, paths, strict=True)
        }
        for name, count in Counter(form.name for form in self.specifications).items():
            if count > 1:
                raise UsageError(f"two forms are named {name!r}: change the name in one form.toml")

    @classmethod
    def of(cls, store: Store) -> "ReviewedForms":
        """Those that the folder of a database was last read with; perhaps none."""
        return cls([store.path.parent / path for path in store.forms()])

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.paths)

    def files(self) -> list[Path]:
        """Each `form.toml`, and the blanks beside it."""
        pairs = zip(self.paths, self.specifications, strict=True)
        return [file for path, form in pairs for file in files_of(path, form)]

    def digest(self) -> str:
        """Tells whether a `form.toml` or a blank has changed.

        Raises:
            DataError: one of them cannot be read.
        """
        return digest(self.files())

    def to_page(self, reading: FormReading) -> dict[str, object]:
        """A form that was read as an object that the store keeps: its fields are lines."""
        width, height = reading.sizes.get(reading.page, (0, 0))
        if reading.error is not None:
            page = unreadable(reading.page, reading.error)
            return page | {"width": width, "height": height}
        form, _ = self._folders[reading.form]
        suspects = _suspects(form, reading)
        lines = [
            _to_line(field, reading.fields[field.name], field.name in suspects)
            for field in form.fields
        ]
        texts = [str(line["text"]) for line in lines if line["text"]]
        return {
            "page": reading.page,
            "form": reading.form,
            "status": reading.status,
            "width": width,
            "height": height,
            "sizes": {str(number): size for number, size in reading.sizes.items()},
            "text": " / ".join(texts),
            "confidence": round(reading.confidence, 4),
            "lines": lines,
            "rejected": [],
        }

    def reading(self, content: Mapping[str, Any], lines: Sequence[Line]) -> FormReading:
        """What stands on a form now.

        Args:
            content: as `to_page` made it.
            lines: as they stand now.
        """
        found = {line["field"]: line for line in lines if "field" in line}
        if content["form"] not in self._folders:  # it was read with another form.toml
            fields = {name: _as_read(line) for name, line in found.items()}
            return FormReading(content["form"], content["page"], fields)
        form, folder = self._folders[content["form"]]
        fields = {field.name: _now(field, found.get(field.name)) for field in form.fields}
        rules = broken(form, fields, folder)
        return FormReading(form.name, content["page"], fields, rules)

    def shown(
        self, content: Mapping[str, Any], lines: Sequence[Line], reading: FormReading
    ) -> dict[str, object]:
        """What the page shows of a form beside what it shows of any picture.

        Args:
            content: as `to_page` made it.
            lines: as they stand now.
            reading: what stands on the form now, with the rules that it breaks.
        """
        form, _ = self._folders.get(content["form"], (None, None))
        known = {field.name: field for field in form.fields} if form else {}
        shown = []
        for line in sorted(lines, key=_order):
            name = line.get("field", "")
            reasons = [rule.reason for rule in reading.broken if rule.field == name]
            more: dict[str, object] = {"broken": reasons}
            more |= {"ink": None, "picture": None}  # the page has the picture itself
            if name in known:
                more |= {"status": reading.fields[name].status, **_asked(known[name])}
            shown.append({**line, **more})
        return {"form": content["form"], "sizes": content["sizes"], "lines": shown}


def repeated(store: Store, forms: ReviewedForms, page: int, reading: FormReading) -> list[Broken]:
    """The values of a form that another one in the folder has too, where a rule forbids it.

    Args:
        store: has the other forms.
        forms: say what is unique.
        page: the page of the form.
        reading: what stands on it now.
    """
    form = next((form for form in forms.specifications if form.name == reading.form), None)
    names = [rule.field for rule in form.rules if isinstance(rule, Unique)] if form else []
    found = []
    for name in names:
        text = reading.fields[name].text
        for other in store.pages_with(text) if reading.fields[name].status == "read" else []:
            entry = store.entry(other)
            content = json.loads(entry["content"])
            if other == page or content.get("form") != reading.form:
                continue
            there = forms.reading(content, store.lines(other)).fields[name]
            if there.text == text and there.status == "read":
                found.append(Broken(name, f"{text} is also in {entry['path']}"))
                break
    return found


def form_row(reading: FormReading, lines: Sequence[Line]) -> dict[str, Any]:
    """A form as `rowscan read --form` writes it, with what was read and who corrected it."""
    row = reading.to_dict()
    fields = cast("dict[str, dict[str, object]]", row["fields"])
    for line in lines:
        if (field := fields.get(line.get("field", ""))) is not None:
            field |= {"read": line["read"], "state": line["state"]}
    typed = [name for name, field in fields.items() if field.get("state") == "typed"]
    last = max(lines, key=lambda line: line.get("time", ""), default={})
    return row | {
        "corrected": "; ".join(typed),
        "user": last.get("user", ""),
        "time": last.get("time", ""),
    }


def _to_line(field: Field, reading: FieldReading, is_suspect: bool) -> dict[str, object]:
    shown = reading.picture if reading.status == "picture" else None
    return reading.to_dict() | {
        "field": field.name,
        "kind": field.kind,
        "filled": reading.filled,
        "doubtful": is_suspect and reading.box != _NOWHERE and field.kind != "text",
        "corners": [[round(side, 1) for side in corner] for corner in reading.corners],
        "characters": [character.to_dict() for character in reading.characters],
        "ink": _encoded(".png", reading.ink),
        "picture": _encoded(".jpg", shown),
        "alphabet": ALPHABETS.get(field.kind),
        "pattern": expected(field, reading.text) if field.kind in ALPHABETS else None,
    }


def _encoded(kind: str, picture: np.ndarray | None) -> str | None:
    if picture is None:
        return None
    return base64.b64encode(cv2.imencode(kind, picture)[1].tobytes()).decode()


def _now(field: Field, line: Line | None) -> FieldReading:
    """What stands in a field; a person is taken at their word."""
    if line is None:  # `form.toml` has got it since the form was read
        return FieldReading(field.name, "", 0.0, "unreadable", _NOWHERE)
    if line["state"] == "read":
        return _as_read(line)
    text = line["text"] if line["state"] in DECIDED else ""
    status, value = checked(field, text)
    return FieldReading(field.name, text, 1.0, status, tuple(line["box"]), value, line["page"])


def _as_read(line: Line) -> FieldReading:
    text = line["text"] if line["state"] != "deleted" else ""
    return FieldReading(
        line["field"],
        text,
        line["confidence"],
        line["status"],
        tuple(line["box"]),
        line["value"],
        line["page"],
    )


def _order(line: Line) -> tuple[bool, bool, float]:
    """Doubtful fields first, the most doubtful before; pictures last; else as in `form.toml`.

    What was doubtful when it was read stays there: corrections do not move it.
    """
    doubtful = bool(line.get("doubtful"))
    return line.get("kind") == "text", not doubtful, line["confidence"] if doubtful else 0.0


def _suspects(form: Specification, reading: FormReading) -> set[str]:
    """The fields that are not sure or break a rule; of a sum any of its fields may be wrong."""
    wrong = {rule.field for rule in reading.broken}
    sums = [rule for rule in form.rules if isinstance(rule, Sum) and rule.field in wrong]
    unsure = {name for name, field in reading.fields.items() if field.confidence < SURE}
    return wrong | unsure | {name for rule in sums for name in rule.of}


def _asked(field: Field) -> dict[str, object]:
    """What may be in a field, for the page to say."""
    boxes = len(field.boxes) if len(field.boxes) > 1 else None
    return {
        "digits": boxes or field.digits,
        "decimals": field.decimals,
        "range": field.range,
        "format": field.format if field.kind == "date" else None,
        "pattern": field.pattern,
        "options": list(field.choices) if field.kind == "choice" else [],
    }
