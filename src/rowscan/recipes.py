"""Recipes: frozen values that say all of a training. They hold no behaviour.

A recipe is the only place where a default of a training is written down. The command line, a TOML
file and the Python call all end in [`change`][rowscan.recipes.change], which refuses a wrong key
or a wrong type with the nearest right one.
"""

import contextlib
import difflib
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from rowscan.errors import UsageError
from rowscan.scans import SCANS

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure that a published system claims, and where it claims it."""

    accuracy: float | None
    """Share of correct answers, 0 to 1; None where the publication gives no number."""
    images: Positive
    """The figure was measured on the first so many test images."""
    claim: str
    """The claim in words."""
    source: str
    """Where it was published."""
    by_epoch: tuple[float, ...] = ()
    """Published accuracy after each epoch, where there is a table."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a training depends on; two trainings of equal recipes give equal weights."""

    name: str
    """What `rowscan train` calls it."""
    summary: str
    """One line for `rowscan recipes`."""

    data: str = "mnist"
    """`mnist`, `fashion-mnist`, or a path that `load_digits` understands."""
    start: str = ""
    """A model file or run whose weights to begin with, `shipped` for those of the package's model;
    nothing for first weights."""
    train_on: Literal["all", "split"] = "split"
    """`all` 60,000 training images as published, or the split's 55,000 with 5,000 held back."""
    pixels: Literal["unit", "signed", "raw"] = "unit"
    """What the network sees of a pixel: 0..1, -1..1 or 0..255."""
    scan: str = "rows"
    """The reading order, a name from `rowscan.scans`."""

    network: Literal["lstm", "mlp", "sweep", "line"] = "lstm"
    """An LSTM whose last output is classified; affine, ReLU, affine, ReLU; gated linear recurrences
    that sweep over a square grid of patches from all four sides; or such over a line of writing."""
    hidden: Positive = 64
    """Width of each hidden layer."""
    layers: Positive = 1
    """Recurrent layers on top of each other."""
    init: Literal["uniform", "normal", "glorot"] = "uniform"
    """First weights: U(-1/sqrt(fan), 1/sqrt(fan)) as torch draws them; 0.01 N(0,1) with zero
    biases; or Glorot's uniform for the kernel of an LSTM, whose biases are zero, and N(0,1) for
    its head."""
    forget_bias: float = 0.0
    """So much is added to the bias of an LSTM's forget gate at the start."""
    biases: Literal[1, 2] = 2
    """Biases that each layer of an LSTM trains: the one of TensorFlow, or torch's two, of which
    only the sum counts but each takes a step."""

    engine: Literal["torch", "numpy", "tensorflow"] = "torch"
    """What runs the training."""
    optimizer: Literal["adam", "adamw", "muon", "adadelta", "sgd"] = "adam"
    """The update rule, with the defaults of its paper apart from the learning rate; adamw forgets
    squares of gradients faster (beta2 = 0.98); muon moves each matrix as much in every direction,
    and leaves the first layer, the last and what is no matrix to adamw."""
    weight_decay: Amount = 0.0
    """So much of each matrix adamw and muon take away at a step, times the learning rate."""
    clip: Amount = 0.0
    """Gradients are scaled down to this norm; 0 leaves them as they are."""
    learning_rate: Rate = 0.01
    """Step size; the highest one where there is a schedule."""
    schedule: Literal["constant", "one-cycle"] = "constant"
    """Learning rate over time; one-cycle climbs over the first fifth, then falls to zero."""
    batch_size: Positive = 64
    """Images a step."""
    sampling: Literal["shuffle", "replacement"] = "shuffle"
    """Batches from a new shuffle each epoch, or drawn with replacement."""
    epochs: Positive = 1
    """Passes over the training images (with replacement: rounds of as many steps)."""
    steps_per_epoch: NotNegative = 0
    """So many steps are an epoch instead; 0 is one pass. Shuffled passes then run on into each
    other, so that a batch has the end of one and the beginning of the next."""
    seed: NotNegative = 0
    """Seed of the first weights, of the data order and of the augmentation."""

    augmentation: Literal["none", "handwriting"] = "none"
    """Training images as they are, or as other hands, pens and scanners would have given them."""
    no_digits: Amount = 0.0
    """Pictures of no digit for each image of a batch. With any, the network has an eleventh answer,
    "no digit", whose probability is shared out evenly among the ten."""
    expect_no_digits: Amount = 0.0
    """So many are expected for each digit when the model is used, and confidences are made for
    that; 0 is as many as in training."""
    calibrate: bool = False
    """Scale the logits at the end so that the validation images are as probable as can be."""

    look_again: bool = False
    """The model, once trained, looks again at an image of which it is not sure, a little moved."""

    monitor: Literal["test", "validation"] = "validation"
    """Images on which accuracy is measured while training. Most published systems use `test`."""
    monitor_images: NotNegative = 0
    """Only the first so many of them; 0 is all."""
    monitor_every: NotNegative = 0
    """Measure after every so many steps; 0 is at the end of each epoch."""
    record_every: Positive = 50
    """Write down the training loss and accuracy after every so many steps."""
    samples: NotNegative = 10
    """So many predictions are printed beside the truth,"""
    sample_from: Literal["first", "random"] = "first"
    """of the first test images or of some drawn with the seed."""

    published: Published | None = None
    """The claim that `rowscan reproduce` re-measures."""


_ROWS_B64 = Recipe(
    name="lstm-rows-b64",
    summary="LSTM 64 over the rows, batch 64, Adam 0.01, one epoch",
    train_on="all",
    seed=1,
    monitor="test",
    monitor_images=2000,
    monitor_every=50,
    published=Published(
        accuracy=0.96,
        images=2000,
        claim="96% on the first 2,000 test images",
        source="PyTorch tutorial, LSTM over 28 rows, batch 64",
    ),
)

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        msgspec.structs.replace(
            _ROWS_B64,
            name="lstm-rows-b32",
            summary="LSTM 64 over the rows, batch 32, Adam 0.01, one epoch",
            batch_size=32,
            seed=2019,
            samples=20,
            published=Published(
                accuracy=None,
                images=2000,
                claim="“good”, in a screenshot",
                source="PyTorch tutorial, LSTM over 28 rows, batch 32",
            ),
        ),
        Recipe(
            name="mlp-numpy",
            summary="784-50-10 written by hand in NumPy, plain gradient descent",
            train_on="all",
            pixels="raw",
            scan="whole",
            network="mlp",
            hidden=50,
            init="normal",
            engine="numpy",
            optimizer="sgd",
            learning_rate=0.001,
            batch_size=100,
            sampling="replacement",
            epochs=5,
            monitor="test",
            record_every=100,
            samples=1,
            sample_from="random",
            published=Published(
                accuracy=0.9623,
                images=10_000,
                claim="96.23% on 10,000",
                source="NumPy tutorial, two-layer network from scratch",
            ),
        ),
        _ROWS_B64,
        Recipe(
            name="lstm-columns",
            summary="two-layer LSTM 100 over the columns, batch 64, Adadelta 0.1, ten epochs",
            train_on="all",
            pixels="signed",
            scan="columns",
            hidden=100,
            layers=2,
            optimizer="adadelta",
            learning_rate=0.1,
            epochs=10,
            monitor="test",
            record_every=100,
            published=Published(
                accuracy=0.9807,
                images=10_000,
                claim="98.07% after ten epochs",
                source="PyTorch tutorial, two-layer LSTM over columns",
                by_epoch=(0.578, 0.913, 0.946, 0.954, 0.970, 0.973, 0.969, 0.977, 0.978, 0.981),
            ),
        ),
        Recipe(
            name="lstm-rows-tf",
            summary="LSTM 128 over the rows, batch 128, Adam's defaults, 5,000 steps",
            hidden=128,
            init="glorot",
            forget_bias=1.0,
            biases=1,
            engine="tensorflow",
            learning_rate=0.001,
            batch_size=128,
            epochs=5,
            steps_per_epoch=1000,
            record_every=1,
            published=Published(
                accuracy=None,
                images=128,
                claim="lost with its screenshot",
                source="TensorFlow tutorial, BasicLSTMCell over 28 rows, batch 128",
            ),
        ),
        Recipe(
            name="lstm-rows",
            summary="the same 64-unit LSTM over the rows, trained as one would today",
            batch_size=96,
            learning_rate=0.02,
            schedule="one-cycle",
            epochs=2,
        ),
        Recipe(
            name="sweep",
            summary="the digit model that ships: recurrences from all four sides of the image",
            scan="patches",
            network="sweep",
            hidden=64,
            layers=4,
            optimizer="adamw",
            learning_rate=0.005,
            weight_decay=0.05,
            clip=1.0,
            schedule="one-cycle",
            batch_size=256,
            epochs=72,
            augmentation="handwriting",
            no_digits=0.125,
            expect_no_digits=0.04,
            calibrate=True,
            look_again=True,
        ),
        Recipe(
            name="line",
            summary="the number reader: recurrences over a line of writing, composed of digits",
            network="line",
            hidden=80,
            layers=3,
            optimizer="muon",
            learning_rate=0.004,
            weight_decay=0.05,
            clip=1.0,
            schedule="one-cycle",
            batch_size=32,
            epochs=25,
            steps_per_epoch=1000,
            calibrate=True,
            samples=0,
        ),
    )
}


def find(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        UsageError: no recipe is called so; the message names the nearest.
    """
    if name in RECIPES:
        return RECIPES[name]
    raise UsageError(f"no recipe is called {name!r}{_nearest(name, RECIPES)}")


def load(path: Path) -> Recipe:
    """A recipe from a TOML file: `base = "lstm-rows"`, then the keys that differ.

    Raises:
        UsageError: the file is no TOML, its base is no recipe, or a key or type is wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a recipe: {error}") from None
    base = values.pop("base", None)
    if not isinstance(base, str):
        raise UsageError(f'{path}: a recipe file starts with base = "NAME OF A RECIPE"')
    try:
        return change(find(base), {"name": path.stem, **values})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def change(recipe: Recipe, values: Mapping[str, object]) -> Recipe:
    """`recipe` with some values changed. Values may be text, as they come from a command line.

    A changed recipe makes no published claim: its `published` is dropped unless only the seed,
    the engine or the name changed.

    Raises:
        UsageError: an unknown key or a value of the wrong type; names the nearest right one.
    """
    hints = typing.get_type_hints(Recipe, include_extras=True)
    settable = [key for key in hints if key not in ("published",)]
    for key in values:
        if key not in settable:
            raise UsageError(f"a recipe has no key {key!r}{_nearest(key, settable)}")
    changed: dict[str, Any] = {}
    for key, value in values.items():
        try:
            changed[key] = _converted(value, hints[key])
        except msgspec.ValidationError as error:
            raise UsageError(_wrong_value(key, value, hints[key], str(error))) from None
    if "scan" in changed and changed["scan"] not in SCANS:
        scan = changed["scan"]
        raise UsageError(f"scan: there is no reading order {scan!r}{_nearest(scan, SCANS)}")
    if any(getattr(recipe, key) != changed[key] for key in changed.keys() - _KEEPS_CLAIM):
        changed["published"] = None
    return msgspec.structs.replace(recipe, **changed)


def describe(recipe: Recipe) -> str:
    """All that a recipe says, as the TOML of a recipe file."""
    values = msgspec.structs.asdict(recipe)
    claim = values.pop("published")
    lines = [f"# {recipe.summary}"]
    if claim is not None:
        lines.append(f"# published: {claim.claim} ({claim.source})")
    lines.append(f'base = "{recipe.name}"')
    for key, value in values.items():
        if key not in ("name", "summary"):
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines)


_KEEPS_CLAIM = {"name", "summary", "seed", "engine", "samples", "sample_from", "record_every"}


def _converted(value: object, hint: Any) -> object:
    if not isinstance(value, str):
        return msgspec.convert(value, hint)
    if hint in (float, Rate, Amount):  # as Python reads it: 5e-3, but .005 and 5. too
        with contextlib.suppress(ValueError):
            return msgspec.convert(float(value), hint)
    return msgspec.convert(value, hint, strict=False)


def _wrong_value(key: str, value: object, hint: object, reason: str) -> str:
    choices = [str(choice) for choice in typing.get_args(hint)]
    if typing.get_origin(hint) is Literal:
        return f"{key}: {value!r} is none of {', '.join(choices)}{_nearest(str(value), choices)}"
    return f"{key}: {value!r}: {reason[0].lower()}{reason[1:]}"


def _nearest(wrong: str, right: Iterable[str]) -> str:
    right = list(right)
    near = difflib.get_close_matches(wrong, right, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(right)}"
