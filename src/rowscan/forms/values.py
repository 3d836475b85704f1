"""Values: what the text of a field is worth, and whether it can be there. No picture is opened."""

import itertools
import re
from datetime import date
from functools import lru_cache

from rowscan.forms.results import FieldStatus
from rowscan.forms.specification import DATE_PARTS, PRINTABLE, Field, date_parts
from rowscan.recognition.pattern import Automaton, compile_pattern

Value = str | float | bool | None

ALPHABETS = {"digits": "digits", "number": "0123456789.,-", "date": "date"}
"""What is written in fields that are read, by their kind."""


def pattern(field: Field, boxes: int | None) -> str:
    """What the text of a field looks like; `boxes` is their number where each has one character."""
    if field.pattern is not None:
        return field.pattern
    if field.kind == "date":
        return _date_pattern(field.format, boxed=boxes is not None)
    if boxes is not None:
        return rf"\d{{{boxes}}}"
    if field.kind == "digits":
        return rf"\d{{{field.digits}}}" if field.digits else r"\d+"
    most = field.digits
    if most is None and field.range is not None:
        most = max(len(str(int(abs(limit)))) for limit in field.range)
    whole = rf"\d{{1,{most}}}" if most else r"\d+"
    sign = "-?" if field.range is not None and field.range[0] < 0 else ""
    return f"{sign}{whole}" + (rf"([.,]\d{{1,{field.decimals}}})?" if field.decimals else "")


def _date_pattern(form: str, *, boxed: bool) -> str:
    known = {
        "dd": r"(0[1-9]|[12]\d|3[01])" if boxed else r"(0?[1-9]|[12]\d|3[01])",
        "mm": r"(0[1-9]|1[0-2])" if boxed else r"(0?[1-9]|1[0-2])",
        "yyyy": r"(19|20)\d\d",
        "yy": r"\d\d",
    }
    parts = [known[part] for part in date_parts(form) or ()]
    return ("" if boxed else "[-./ ]*").join(parts)


def interpreted(field: Field, text: str, *, full: bool) -> tuple[FieldStatus, Value]:
    """Whether a text that was read can be in a field, and its value.

    Args:
        field: of the kinds that are read as text.
        text: "" where nothing that may be there fits.
        full: whether each of its boxes has ink.
    """
    status: FieldStatus = "read" if text else "unsure"
    value: str | float | None = None
    if text and not full and (field.kind == "date" or field.required or field.digits):
        status = "incomplete"
    elif text and field.kind == "date":
        value = iso_date(text, field.format)
        status = "read" if value else "invalid"
    elif text and field.kind == "number":
        value = number(text, field.decimals)
    if text and field.range is not None and field.kind != "date":
        low, high = field.range
        amount = value if isinstance(value, float) else number(text, 0)
        if amount is None or not low <= amount <= high:
            status = "invalid"
    return status, value


def checked(field: Field, text: str) -> tuple[FieldStatus, Value]:
    """As `interpreted`, of a text that a person has typed or chosen."""
    if field.kind == "text":
        return "picture", None
    if not text:
        return "empty", None
    if field.kind == "tick":
        return ("read", text == "yes") if text in ("yes", "no") else ("invalid", None)
    if field.kind == "choice":
        return ("read", text) if text in field.choices else ("invalid", None)
    full = len(field.boxes) == 1 or len(text) >= len(field.boxes)
    status, value = interpreted(field, text, full=full)
    if status == "read" and not _matches(expected(field, text), text):
        status = "invalid"
    return status, value


def expected(field: Field, text: str) -> str:
    """The pattern of a text in a field: in boxes it has a digit in each, or else as many digits."""
    boxes = len(field.boxes)
    if boxes == 1:
        return pattern(field, None)
    return pattern(field, boxes) if len(text) >= boxes else rf"\d{{{len(text)}}}"


def _matches(wanted: str, text: str) -> bool:
    written = [PRINTABLE.find(character) for character in text]
    return min(written) >= 0 and _automaton(wanted).matches(tuple(written))


@lru_cache(256)
def _automaton(wanted: str) -> Automaton:
    return compile_pattern(wanted, PRINTABLE)


def number(text: str, decimals: int) -> float | None:
    """The value of a number as it is written; None if it is none.

    Args:
        text: without a decimal sign,
        decimals: how many digits follow it.
    """
    plain = text.replace(" ", "").replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if "." in plain or not decimals else value / 10**decimals


def iso_date(text: str, form: str) -> str | None:
    """A day that is written in a format, as 2026-11-26; None if there is no such day."""
    parts = date_parts(form) or []
    groups = re.findall(r"\d+", text)
    if len(groups) == 1:
        ends = list(itertools.accumulate((DATE_PARTS[part] for part in parts), initial=0))
        groups = [text[a:b] for a, b in itertools.pairwise(ends)]
    if len(groups) != 3:
        return None
    values = {part[0]: int(group or 0) for part, group in zip(parts, groups, strict=True)}
    if "yy" in parts:
        values["y"] += 2000
    try:
        return date(values["y"], values["m"], values["d"]).isoformat()
    except ValueError:
        return None
