"""Rules: what must hold between the fields of a form. They change nothing that was read."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from rowscan.errors import DataError
from rowscan.forms.results import Broken, FieldReading
from rowscan.forms.specification import CheckDigit, Listed, Specification, Sum, Unique
from rowscan.io.storage import read_bytes

_ROUNDING = 1e-6


def broken(
    form: Specification, fields: Mapping[str, FieldReading], folder: Path
) -> tuple[Broken, ...]:
    """The rules that a form breaks by itself; `unique` needs all of them.

    Args:
        form: what must hold.
        fields: what was read, by name.
        folder: where files of lists are.
    """
    return (*_fields(form, fields), *_rules(form, fields, folder))


def _fields(form: Specification, fields: Mapping[str, FieldReading]) -> Iterator[Broken]:
    for field in form.fields:
        reading = fields[field.name]
        if reading.status == "empty":
            if field.required:
                yield Broken(field.name, "required, and empty")
        elif reading.status not in ("read", "picture"):
            yield Broken(field.name, reading.status)


def _rules(
    form: Specification, fields: Mapping[str, FieldReading], folder: Path
) -> Iterator[Broken]:
    for rule in form.rules:
        reading = fields[rule.field]
        if isinstance(rule, Sum):
            yield from _sum(rule, fields)
        elif reading.status == "read":
            if isinstance(rule, CheckDigit) and not has_check_digit(reading.text, rule.method):
                reason = f"{reading.text} has a wrong check digit ({rule.method})"
                yield Broken(rule.field, reason)
            if isinstance(rule, Listed) and reading.text not in _list(folder / rule.file):
                yield Broken(rule.field, f"{reading.text} is not in {rule.file}")


def _sum(rule: Sum, fields: Mapping[str, FieldReading]) -> Iterator[Broken]:
    """Empty fields count as nothing; what is unreadable is told elsewhere."""
    readings = [fields[name] for name in (rule.field, *rule.of)]
    if any(reading.status not in ("read", "empty") for reading in readings):
        return
    if all(reading.status == "empty" for reading in readings):
        return
    total, *parts = (_number(reading) for reading in readings)
    if abs(total - sum(parts)) > _ROUNDING:
        terms = " + ".join(f"{part:g}" for part in parts)
        yield Broken(rule.field, f"{total:g} is not {terms}")


def _number(reading: FieldReading) -> float:
    value = reading.value if reading.value is not None else reading.text
    try:
        return float(value or 0)
    except ValueError:
        return 0.0


def has_check_digit(text: str, method: str) -> bool:
    """Whether the last digits of a number fit the others.

    Args:
        text: digits.
        method: `luhn` (ISO/IEC 7812-1, annex B), `mod11` (weights 2, 3, 4 … from the right, as in
            ISBN-10; an identifier whose check digit would be 10 is not given out), or `mod97`
            (ISO/IEC 7064, MOD 97-10: the last two).
    """
    if not (text.isascii() and text.isdecimal()):
        return False
    digits = [int(character) for character in reversed(text)]
    if method == "luhn":
        doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
        return (sum(digits[::2]) + sum(doubled)) % 10 == 0
    if method == "mod11":
        return sum(weight * digit for weight, digit in enumerate(digits, start=1)) % 11 == 0
    return int(text) % 97 == 1


@cache
def _list(path: Path) -> frozenset[str]:
    """The first column of a file."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(path, "expected text in UTF-8") from None
    cells = (line.replace(";", ",").partition(",")[0] for line in text.splitlines())
    return frozenset(cell.strip().strip('"') for cell in cells if cell.strip())


class Seen:
    """The values of `unique` fields so far, and the first two forms that had each."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], tuple[str, str | None]] = {}

    def repeated(self, form: Specification, fields: Mapping[str, str], where: str) -> list[Broken]:
        """Note the values of a form; the rules broken by each that another one is known to have.

        Args:
            form: whose rules count.
            fields: the texts that were read, by name; "" for none.
            where: the path and page of this one.
        """
        found = []
        for rule in form.rules:
            if isinstance(rule, Unique) and (text := fields.get(rule.field)):
                key = (form.name, rule.field, text)
                first, second = self._first.get(key, (where, None))
                if first != where:
                    second = second or where
                self._first[key] = first, second
                other = second if first == where else first
                if other is not None:
                    found.append(Broken(rule.field, f"{text} is also in {other}"))
        return found
