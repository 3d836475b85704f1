"""Texts: what people write where a number is asked for, as tokens. No ink here.

Each kind of text is a function of random numbers; `KINDS` gives its share. A line's label follows
from its tokens: words, symbols and what is struck out are "something else", one for each run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from rowscan.alphabet import OTHER, SPACE

Role = Literal["number", "small", "stacked", "word", "struck", "space"]


@dataclass(frozen=True)
class Token:
    """Characters that stand together.

    `small`: a fraction whose figures are small, one raised and one lowered; `stacked`: one above
    the other; `word`: letters or a symbol; `struck`: struck out; `space`: a gap that is read.
    """

    text: str
    role: Role = "number"


Tokens = tuple[Token, ...]
GAP = Token(SPACE, "space")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ALONE = "aabcdeefghhijkkmnpqrstuuvwxyzAABCDEFGHJKKLMNNPQRRSTUVWXYZ&#?!@*"
"""Letters and symbols that stand alone: not those that look the same as 0 or 1."""
# fmt: off
_UNITS = (
    "kg", "g", "cm", "mm", "m", "km", "l", "ml", "h", "min", "s", "st", "Stk", "pcs", "lbs",
    "ft", "in", "oz", "EUR", "USD", "Fr", "kr", "A", "B", "C", "W", "V", "x", "th", "nd", "#",
    "*", "&", "!", "?", "°",
)
# fmt: on
# fmt: off
_WORDS = (
    "No", "Nr", "No.", "Nr.", "Total", "Sum", "Tel", "Room", "Ref", "Date", "Page", "Year",
    "Name", "Item", "Amount:", "Amount", "due:", "Paid", "und", "and", "the", "of", "Juni",
    "Mai", "Sept", "Dec", "Jan", "Price", "Anna", "Smith", "Peter", "Lopez", "Yes", "no", "a)",
    "b)", "c.", "#", "*", "**", "&", "§", "ill", "Ooo", "so", "to", "Sol", "loss", "boss",
    "pig", "big", "lob", "fly", "if", "it", "is", "go", "old", "zoo",
)
# fmt: on


def label(tokens: Tokens) -> str:
    """What a reader of the line should say."""
    text = ""
    for token in tokens:
        if token.role in ("word", "struck"):
            text = text.rstrip(SPACE) if text.rstrip(SPACE).endswith(OTHER) else text
            text += "" if text.endswith(OTHER) else OTHER
        else:
            text += token.text
    return text


def random_text(r: Random) -> tuple[str, Tokens]:
    """A kind, and a text of it."""
    kind = r.choices(_NAMES, _SHARES)[0]
    return kind, KINDS[kind][1](r)


def digits(r: Random, fewest: int, most: int) -> str:
    """Some digits, of which many are the same: numbers end in zeros, figures repeat."""
    count = r.randint(fewest, most)
    text = ""
    for _ in range(count):
        text += text[-1] if text and r.random() < 0.1 else r.choice("0123456789")
    if count > 1 and r.random() < 0.15:
        zeros = r.randint(1, count - 1)
        text = text[:-zeros] + "0" * zeros
    return text


def _one(text: str) -> Tokens:
    return (Token(text),)


def _plain(r: Random) -> Tokens:
    fewest, most = r.choices(((1, 1), (2, 2), (2, 4), (4, 6), (6, 9), (9, 12)), (7, 7, 8, 9, 4, 1))[
        0
    ]
    return _one(digits(r, fewest, most))


def _ones(r: Random) -> Tokens:
    """Mostly 1s, which are easily taken for rules and frames."""
    count = r.choices((1, 2, 3, 4), (5, 3, 2, 1))[0]
    return _one("".join("1" if r.random() < 0.8 else r.choice("023456789") for _ in range(count)))


def _year(r: Random) -> Tokens:
    return _one(str(r.choice((r.randint(1900, 1999), r.randint(1700, 2040)))))


def grouped(r: Random, separator: str) -> str:
    """A whole number of three to nine digits in groups of three."""
    groups = [digits(r, 1, 3), *(digits(r, 3, 3) for _ in range(r.choices((1, 2), (5, 1))[0]))]
    return separator.join(groups)


def _decimal(r: Random) -> Tokens:
    point, separator = r.choice(((".", ","), (",", "."), (",", ""), (".", "")))
    whole = grouped(r, separator) if separator and r.random() < 0.4 else digits(r, 1, 4)
    if separator and r.random() < 0.35:
        return _one(grouped(r, separator))
    places = r.choices((2, 1, 3), (6, 3, 1))[0]
    return _one(whole + point + digits(r, places, places))


def _sign(r: Random) -> Tokens:
    """A sign alone, so that it is not taken for a digit."""
    return _one(r.choice("()++-=×%$€£¥"))


def _amount(r: Random) -> Tokens:
    """An amount as on a cheque: groups of three, and what is put around them against forgery."""
    separator = r.choices((".", ",", SPACE, ""), (5, 2, 2, 3))[0]
    whole = grouped(r, separator) if separator else digits(r, 2, 6)
    before = r.choices(("", "=", "-", r.choice("$€£¥")), (16, 2, 1, 2))[0]
    ends = ("", ".", ",", "-", "=", ".-", ",-", r.choice(".,") + "00")
    after = r.choices(ends, (9, 4, 1, 2, 1, 1, 1, 1))[0]
    groups = (before + whole + after).split(SPACE)
    return tuple(token for group in groups for token in (GAP, Token(group)))[1:]


def _spaced(r: Random) -> Tokens:
    if r.random() < 0.4:
        groups = [digits(r, 1, 3), *(digits(r, 3, 3) for _ in range(r.randint(1, 2)))]
    else:
        # Digits that stand alone, all of them apart, could be a number with wide gaps.
        groups = [digits(r, 2, 5), *(digits(r, 1, 5) for _ in range(r.randint(1, 3)))]
        r.shuffle(groups)
    tokens: list[Token] = []
    for group in groups:
        tokens += [GAP, Token(group)] if tokens else [Token(group)]
    return tuple(tokens)


def _signed(r: Random) -> Tokens:
    number = digits(r, 1, 5) if r.random() < 0.6 else _decimal(r)[0].text
    return _one(r.choice("--+") + number)


def _date(r: Random) -> Tokens:
    day, month, year = r.randint(1, 31), r.randint(1, 12), r.randint(1900, 2040)
    pad = "02d" if r.random() < 0.6 else "d"
    parts = [format(day, pad), format(month, pad)]
    parts = parts[::-1] if r.random() < 0.3 else parts
    short = format(year % 100, "02d") if r.random() < 0.35 else str(year)
    separator = r.choices((".", "/", "-"), (4, 5, 3))[0]
    draw = r.random()
    if draw < 0.15:
        return _one(separator.join([str(year), *parts]))
    if draw < 0.3:
        return _one(separator.join(parts) + ("." if separator == "." else ""))
    if draw < 0.36:
        return (Token(parts[0] + "."), GAP, Token(parts[1] + "."), GAP, Token(short))
    return _one(separator.join([*parts, short]))


def _time(r: Random) -> Tokens:
    text = f"{r.randint(0, 24)}:{r.randint(0, 59):02d}"
    if r.random() < 0.2:
        text += f":{r.randint(0, 59):02d}"
    if r.random() < 0.15:
        return (Token(text), GAP, Token(r.choice(("h", "Uhr", "am", "pm")), "word"))
    if r.random() < 0.1:
        return _one(f"{text}-{r.randint(0, 24)}:{r.randint(0, 59):02d}")
    return _one(text)


def _phone(r: Random) -> Tokens:
    draw = r.random()
    if draw < 0.45:
        middle = r.choice(("", "-"))
        text = f"({digits(r, 3, 3)}){middle}{digits(r, 3, 3)}-{digits(r, 4, 4)}"
        if r.random() < 0.4:
            area, rest = text.split(")", 1)
            return (Token(f"{area})"), GAP, Token(rest.lstrip("-")))
        return _one(text)
    if draw < 0.6:
        return _one("-".join((digits(r, 3, 3), digits(r, 3, 3), digits(r, 4, 4))))
    if draw < 0.75:
        return _one(f"{digits(r, 3, 5)}{r.choice('/-')}{digits(r, 4, 8)}")
    if draw < 0.85:
        return (
            Token("+" + digits(r, 2, 2)),
            GAP,
            Token(digits(r, 3, 4)),
            GAP,
            Token(digits(r, 4, 7)),
        )
    return (Token("0" + digits(r, 3, 4)), GAP, Token(digits(r, 3, 3)), GAP, Token(digits(r, 3, 4)))


def _fraction(r: Random) -> Tokens:
    above, below = r.randint(1, 9), r.choices((2, 4, 3, r.randint(2, 12)), (6, 3, 2, 4))[0]
    if r.random() < 0.5:
        above = 1
    text = f"{above}/{below}"
    role: Role = r.choices(("number", "small", "stacked"), (4, 4, 1))[0]
    if r.random() < 0.3:
        return (Token(text, role),)
    whole = Token(str(r.randint(0, 9)) if r.random() < 0.85 else digits(r, 2, 2))
    return (whole, GAP, Token(text, role))


def _money(r: Random) -> Tokens:
    amount = digits(r, 1, 4)
    if r.random() < 0.45:
        amount = _decimal(r)[0].text
    draw, sign = r.random(), r.choices("$€£¥", (4, 4, 3, 2))[0]
    if draw < 0.6:
        return _one(sign + amount)
    if draw < 0.68:
        return (Token(sign), GAP, Token(amount))
    if draw < 0.78:
        return _one(amount + sign)
    if draw < 0.86:
        return (Token(amount), GAP, Token(sign))
    return _one(amount + r.choice((".-", ",-", "-", "=", ".", ".--")))


def _percent(r: Random) -> Tokens:
    number = (
        digits(r, 1, 3)
        if r.random() < 0.75
        else f"{digits(r, 1, 2)}{r.choice('.,')}{digits(r, 1, 2)}"
    )
    return (Token(number), GAP, Token("%")) if r.random() < 0.12 else _one(number + "%")


def _sum(r: Random) -> Tokens:
    draw = r.random()
    terms = [digits(r, 1, 2) for _ in range(2 if draw < 0.8 else 3)]
    text = terms[0] + "".join(r.choice("++-×:/") + term for term in terms[1:])
    if r.random() < 0.15:
        text = f"({text}){r.choice('×+-')}{digits(r, 1, 1)}"
    if r.random() < 0.75:
        text += "=" + (digits(r, 1, 3) if r.random() < 0.85 else "")
    return _one(text)


def _listed(r: Random) -> Tokens:
    mark = f"{r.randint(1, 20)}{r.choice('))..')}"
    if r.random() < 0.15:
        mark = f"({mark.rstrip(').')})"
    if r.random() < 0.5:
        return _one(mark)
    return (Token(mark), GAP, *(_word(r) if r.random() < 0.3 else _one(digits(r, 1, 5))))


def _mixed(r: Random) -> Tokens:
    """A number beside a word, a unit or an initial, close to it or apart."""
    number = r.choice((_plain, _plain, _decimal, _year))(r)
    apart: Tokens = (GAP,) if r.random() < 0.7 else ()
    if r.random() < 0.5:
        return (*number, *apart, Token(r.choice(_UNITS), "word"))
    before = (Token(_random_word(r), "word"), GAP, *number)
    return (*before, GAP, Token(_random_word(r), "word")) if r.random() < 0.2 else before


def _random_word(r: Random) -> str:
    draw = r.random()
    if draw < 0.5:
        return r.choice(_WORDS)
    if draw < 0.6:
        return r.choice(_LETTERS + _LETTERS.upper())
    text = "".join(r.choice(_LETTERS) for _ in range(r.randint(2, 8)))
    return text.upper() if draw > 0.9 else text.capitalize() if draw > 0.75 else text


def _word(r: Random) -> Tokens:
    draw = r.random()
    if draw < 0.42:
        return (Token(r.choice(_ALONE), "word"),)
    if draw < 0.6:
        return (Token("", "word"),)  # a symbol, a scrawl, or a character that means nothing
    words = [Token(_random_word(r), "word") for _ in range(1 if draw < 0.85 else r.randint(2, 5))]
    return tuple(token for word in words for token in (GAP, word))[1:]


def _struck(r: Random) -> Tokens:
    old, new = Token(digits(r, 1, 4), "struck"), Token(digits(r, 1, 4))
    draw = r.random()
    if draw < 0.55:
        return (old, GAP, new)
    if draw < 0.7:
        return (old, new)
    if draw < 0.8:
        return (Token(digits(r, 1, 3)), Token(digits(r, 1, 1), "struck"), new)
    if draw < 0.9:
        return (new, GAP, old)
    return (old,)


def _nothing(_: Random) -> Tokens:
    return ()


KINDS: dict[str, tuple[float, Callable[[Random], Tokens]]] = {
    "digits": (80, _plain),
    "ones": (4, _ones),
    "year": (8, _year),
    "decimal": (9, _decimal),
    "amount": (16, _amount),
    "spaced": (4, _spaced),
    "signed": (4, _signed),
    "date": (8, _date),
    "time": (3, _time),
    "phone": (3, _phone),
    "fraction": (6, _fraction),
    "money": (7, _money),
    "percent": (3, _percent),
    "sign": (5, _sign),
    "sum": (4, _sum),
    "list": (3, _listed),
    "mixed": (6, _mixed),
    "word": (16, _word),
    "struck": (5, _struck),
    "empty": (5, _nothing),
}
"""Of each kind: its share of all lines, in parts of their sum, and a text of it."""

_NAMES = tuple(KINDS)
_SHARES = tuple(share for share, _ in KINDS.values())
