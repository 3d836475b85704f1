"""Recipes: frozen typed values that say all of a training. Here they are found, changed and stored.

A recipe is the only place where a default of a training is written down. The command line, a TOML
file and the Python call all end in `change`, which refuses a wrong key or value and names the
nearest right one.
"""

import ast
import contextlib
import difflib
import inspect
import itertools
import re
import textwrap
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from rowscan.errors import UsageError, reason_of
from rowscan.recipes.named import RECIPES
from rowscan.recipes.types import (
    Amount,
    AnyRecipe,
    DigitRecipe,
    LineRecipe,
    LSTMRecipe,
    MLPRecipe,
    PageRecipe,
    Published,
    Rate,
    Recipe,
    SweepRecipe,
)
from rowscan.scans import SCANS

__all__ = [
    "RECIPES",
    "DigitRecipe",
    "LSTMRecipe",
    "LineRecipe",
    "MLPRecipe",
    "PageRecipe",
    "Published",
    "Recipe",
    "SweepRecipe",
    "change",
    "checked",
    "decode",
    "describe",
    "find",
    "load",
]

R = TypeVar("R", bound=Recipe)
_TYPES: tuple[type[Recipe], ...] = typing.get_args(AnyRecipe)
_MAX_BYTES = 1_000_000  # of a recipe file
_RENAMED = {
    "look_again": "tta",
    "no_digits": "negatives",
    "expect_no_digits": "expected_negatives",
}
"""Keys as Rowscan 0.1 wrote them."""
_KEEPS_CLAIM = {
    "name",
    "summary",
    "seed",
    "engine",
    "compiled",
    "samples",
    "sample_from",
    "record_every",
}


@typing.overload
def find(name: str) -> Recipe: ...
@typing.overload
def find(name: str, kind: type[R]) -> R: ...
def find(name: str, kind: type[Recipe] = Recipe) -> Recipe:
    """The recipe called `name`.

    Args:
        name: as `rowscan recipes` lists it.
        kind: the type that it must have.

    Raises:
        UsageError: unknown recipe, with the nearest name; or one of another type.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {_short(repr(name))}{_nearest(name, RECIPES)}")
    recipe = RECIPES[name]
    if not isinstance(recipe, kind):
        raise UsageError(f"expected a {kind.__name__}, got {name!r}: {type(recipe).__name__}")
    return recipe


def load(path: Path) -> Recipe:
    """A recipe from a TOML file: `base = "lstm-rows"`, then the keys that differ.

    Raises:
        UsageError: not TOML, an unknown base, or a wrong key or value.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: {reason_of(error)}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise UsageError(f"{path}: expected a recipe in TOML: {_short(error)}") from None
    base = values.pop("base", None)
    if not isinstance(base, str):
        raise UsageError(f'{path}: a recipe file starts with base = "NAME OF A RECIPE"')
    try:
        return change(find(base), {"name": path.stem, **values})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def change(recipe: R, values: Mapping[str, object]) -> R:
    """`recipe` with some values changed. Values may be text, as they come from a command line.

    A changed recipe makes no published claim: its `published` is dropped, unless only keys of
    `_KEEPS_CLAIM` changed.

    Raises:
        UsageError: an unknown key, or a wrong value; names the nearest right one.
    """
    hints = typing.get_type_hints(type(recipe), include_extras=True)
    changed: dict[str, Any] = {}
    for key, value in values.items():
        if key == "published" or key not in hints:
            raise UsageError(_wrong_key(key, recipe))
        try:
            changed[key] = _converted(value, hints[key])
        except (msgspec.ValidationError, ValueError) as error:  # ValueError: text of odd bytes
            raise UsageError(_wrong_value(key, value, hints[key], str(error))) from None
    if "scan" in changed and changed["scan"] not in SCANS:
        scan = changed["scan"]
        raise UsageError(f"scan: unknown reading order {_short(repr(scan))}{_nearest(scan, SCANS)}")
    if any(getattr(recipe, key) != changed[key] for key in changed.keys() - _KEEPS_CLAIM):
        changed["published"] = None
    return msgspec.structs.replace(recipe, **changed)


def checked(recipe: R) -> R:
    """A recipe that was made in Python, with all its values checked against their types.

    Raises:
        UsageError: a wrong value.
    """
    values = msgspec.structs.asdict(recipe)
    del values["published"]
    same = change(recipe, values)
    return msgspec.structs.replace(same, published=recipe.published)


def decode(stored: bytes | Mapping[str, Any]) -> Recipe:
    """A recipe from the JSON of a run directory, or from the metadata of a model file.

    Rowscan 0.1 wrote every key for every network; what a network has no use for is left out.

    Raises:
        UsageError: not a recipe.
    """
    try:
        if isinstance(stored, bytes):
            stored = msgspec.json.decode(stored, type=dict[str, Any])
        values = {_RENAMED.get(key, key): value for key, value in stored.items()}
        elsewhere = {key for other in _TYPES for key in other.__struct_fields__}
        own = next((t for t in _TYPES if t.__struct_config__.tag == values.get("network")), None)
        for key in elsewhere - set(own.__struct_fields__ if own else elsewhere):
            values.pop(key, None)
        recipe: Recipe = msgspec.convert(values, AnyRecipe)
        return recipe
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"not a recipe: {error}") from None


def describe(recipe: Recipe) -> str:
    """All that a recipe says and what each key means, as the TOML of a recipe file."""
    meanings = _meanings(type(recipe))
    values = msgspec.structs.asdict(recipe)
    claim = values.pop("published")
    lines = [f"# {recipe.summary}"]
    if claim is not None:
        lines.append(f"# published: {claim.claim} ({claim.source})")
    lines.append(f'base = "{recipe.name}"')
    for key, value in values.items():
        if key not in ("name", "summary"):
            lines += ["", *textwrap.wrap(f"# {meanings[key]}", 98, subsequent_indent="# ")]
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines)


def _meanings(kind: type[Recipe]) -> dict[str, str]:
    """The first sentence of the docstring behind each field, which only the source has."""
    found = {}
    for one in reversed(kind.__mro__[: kind.__mro__.index(Recipe) + 1]):
        body = ast.parse(inspect.getsource(one)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                text = " ".join(str(ast.literal_eval(after.value)).split())
                found[ast.unparse(field.target)] = re.split(r"(?<=\.) (?=[A-Z])", text)[0]
    return found


def _converted(value: object, hint: Any) -> object:
    if not isinstance(value, str):
        return msgspec.convert(value, hint)
    if hint in (float, Rate, Amount):  # as Python reads it: 5e-3, but .005 and 5. too
        with contextlib.suppress(ValueError):
            return msgspec.convert(float(value), hint)
    return msgspec.convert(value, hint, strict=False)


def _wrong_key(key: str, recipe: Recipe) -> str:
    if key in _RENAMED:
        return f"a recipe has no key {key!r}: it is called {_RENAMED[key]!r} now"
    if key == "network":
        return f"{recipe.name} trains the network {recipe.network!r}: start from another recipe"
    if any(key in other.__struct_fields__ for other in _TYPES):
        return f"a recipe of the network {recipe.network!r} has no key {key!r}"
    keys = [own for own in recipe.__struct_fields__ if own != "published"]
    return f"a recipe has no key {_short(repr(key))}{_nearest(key, keys)}"


_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
"""What msgspec calls by the names of types."""


def _wrong_value(key: str, value: object, hint: object, reason: str) -> str:
    choices = [str(choice) for choice in typing.get_args(hint)]
    if typing.get_origin(hint) is Literal:
        expected = f"expected {' or '.join(choices)}, got {_short(repr(value))}"
        return f"{key}: {expected}{_nearest(str(value), choices, fallback='')}"
    for kind, words in _IN_WORDS.items():
        reason = reason.replace(f"`{kind}`", words)
    return f"{key}: {_short(repr(value))}: {_short(reason[0].lower() + reason[1:])}"


def _short(text: object) -> str:
    """Text that may have been given by a person, no longer than a line."""
    line = " ".join(str(text).split())
    return line if len(line) <= 200 else f"{line[:100]}…{line[-80:]}"


def _nearest(wrong: str, right: Iterable[str], fallback: str | None = None) -> str:
    right = list(right)
    near = difflib.get_close_matches(wrong[:100], right, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; expected one of: {', '.join(right)}" if fallback is None else fallback
