"""Recipes: frozen typed values that say all of a training. Here they are found, changed and stored.

There is one type for each network, so that a key which makes no sense for a network does not exist
on its recipe. A recipe is the only place where a default of a training is written down. The command
line, a TOML file and the Python call all end in `change`, which refuses a wrong key or value and
names the nearest right one.
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
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from rowscan.errors import UsageError, reason_of
from rowscan.scans import SCANS

# The upper bounds are far above any sensible training, and far below what breaks a machine.
Positive = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
NotNegative = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Width = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=64)]
BatchSize = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Optimizer = Literal["adam", "adamw", "muon", "adadelta", "sgd"]


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure that a published system claims, and where it claims it."""

    accuracy: float | None
    """Share of correct answers, 0 to 1; None where the publication gives no number."""
    images: Positive
    """The figure was measured on this many of the first test images."""
    claim: str
    """The claim in words."""
    source: str
    """Where it was published."""
    by_epoch: tuple[float, ...] = ()
    """Published accuracy after each epoch, where there is a table."""


class Recipe(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="network"
):
    """What every training depends on; two trainings of equal recipes give equal weights."""

    name: str
    """What `rowscan train` calls it."""
    summary: str
    """One line for `rowscan recipes`."""
    published: Published | None = None
    """The claim that `rowscan reproduce` measures again."""

    data: str = "mnist"
    """`mnist`, `fashion-mnist`, or a path that `load_digits` understands."""
    start: str = ""
    """Model file or run whose weights the training starts from; `shipped` for the model in the
    package, empty for new weights."""

    hidden: Width = 64
    """Width of each hidden layer."""

    optimizer: Optimizer = "adam"
    """The update rule, with the defaults of its paper apart from the learning rate; adamw uses
    beta2 = 0.98; muon orthogonalises the update of each hidden matrix, and adamw updates the first
    layer, the last one and everything that is not a matrix."""
    weight_decay: Amount = 0.0
    """Decoupled weight decay of adamw and muon, on matrices only."""
    clip: Amount = 0.0
    """Largest norm of the gradients; 0 does not clip."""
    learning_rate: Rate = 0.01
    """Step size; its peak where there is a schedule."""
    schedule: Literal["constant", "one-cycle"] = "constant"
    """Learning rate over time; one-cycle rises over the first fifth, then falls to zero."""
    batch_size: BatchSize = 64
    """Examples in a step."""
    epochs: Positive = 1
    """Passes over the training images, or rounds of `steps_per_epoch` steps."""
    steps_per_epoch: NotNegative = 0
    """Steps in an epoch; 0 is one pass. With a number, shuffled passes follow each other without a
    gap: a batch may hold the end of one pass and the beginning of the next."""
    seed: Seed = 0
    """Seed of the first weights, the order of the data and the augmentation."""

    calibrate: bool = False
    """At the end, scale the logits by the temperature that fits the validation data best."""
    monitor_every: NotNegative = 0
    """Measure on held-out data after this many steps; 0 is at the end of each epoch."""
    record_every: Positive = 50
    """Record training loss and accuracy after this many steps."""

    @property
    def network(self) -> str:
        """The network that the recipe trains: `lstm`, `mlp`, `sweep`, `line` or `page`."""
        return str(self.__struct_config__.tag)


class DigitRecipe(Recipe, frozen=True, kw_only=True):
    """A training of a network that reads single digits."""

    engine: Literal["torch", "numpy", "tensorflow"] = "torch"
    """What runs the training."""
    train_on: Literal["all", "split"] = "split"
    """`all` 60,000 training images, or the 55,000 of the split, with 5,000 held out."""
    pixels: Literal["unit", "signed", "raw"] = "unit"
    """How the network sees a pixel: 0..1, -1..1 or 0..255."""
    scan: str = "rows"
    """The reading order, a name from `rowscan.scans`."""
    sampling: Literal["shuffle", "replacement"] = "shuffle"
    """Batches from a new shuffle each epoch, or drawn with replacement."""
    augmentation: Literal["none", "shift", "handwriting"] = "none"
    """Training images as they are, shifted by up to two pixels, or varied as other writers, pens
    and scanners would do."""
    label_smoothing: Amount = 0.0
    """Share of the probability that the loss asks for all classes alike (Szegedy et al., 2016)."""
    negatives: Amount = 0.0
    """Pictures without a digit for each image of a batch. With any, the network has an eleventh
    class, "no digit"; the model file shares its probability equally among the ten."""
    expected_negatives: Amount = 0.0
    """Negatives expected for each digit in use, to which confidences are adjusted; 0 is the share
    of the training."""
    tta: bool = False
    """Test-time augmentation: where the trained model is unsure of an image, it also reads shifted
    copies and takes the mean."""
    monitor: Literal["test", "validation"] = "validation"
    """Images on which accuracy is measured during training. Most published systems use `test`."""
    monitor_images: NotNegative = 0
    """Use only this many of the first ones; 0 is all."""
    samples: NotNegative = 10
    """Number of predictions to print beside the truth."""
    sample_from: Literal["first", "random"] = "first"
    """Whether these are the first test images or drawn with the seed."""

    def __post_init__(self) -> None:
        """Refuse values that exclude each other.

        Raises:
            UsageError: two values do not go together.
        """
        if self.train_on == "all" and self.monitor == "validation":
            raise UsageError("train_on=all leaves no validation images: set monitor=test as well")
        if self.train_on == "all" and self.calibrate:
            raise UsageError(
                "train_on=all leaves no validation images: set calibrate=false as well"
            )
        if self.engine != "torch":
            only_torch = {
                f"optimizer={self.optimizer}": self.optimizer in ("adamw", "muon"),
                "clip": self.clip > 0,
                f"augmentation={self.augmentation}": self.augmentation != "none",
                "label_smoothing": self.label_smoothing > 0,
                "negatives": self.negatives > 0,
            }
            for what, wanted in only_torch.items():
                if wanted:
                    raise UsageError(f"{what} needs engine=torch, not {self.engine!r}")


class LSTMRecipe(DigitRecipe, frozen=True, kw_only=True, tag="lstm"):
    """An LSTM (Hochreiter and Schmidhuber, 1997) whose last output is classified."""

    layers: Depth = 1
    """Recurrent layers on top of each other."""
    init: Literal["uniform", "normal", "glorot"] = "uniform"
    """First weights: U(-1/sqrt(fan), 1/sqrt(fan)) as torch draws them; 0.01 N(0,1) with zero
    biases; or Glorot's uniform for the kernel, zero biases, and N(0,1) for the head."""
    forget_bias: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0
    """Added to the bias of the forget gate at the start."""
    compiled: bool = True
    """On the CPU engine=torch takes each step in one piece of C++ (`engines.compiled`), if the
    optimiser is adam, adadelta or sgd and nothing is clipped or augmented; false never does."""
    biases: Literal[1, 2] = 2
    """Biases that each layer trains: the one of TensorFlow, or torch's two, of which only the sum
    counts but each takes a step."""

    def __post_init__(self) -> None:
        """As in `DigitRecipe`; and the engine `tensorflow` is the published system alone.

        Raises:
            UsageError: two values do not go together.
        """
        super().__post_init__()
        if self.engine == "tensorflow":
            for key, value in {"optimizer": "adam", "biases": 1}.items():
                if (found := getattr(self, key)) != value:
                    raise UsageError(f"engine=tensorflow needs {key}={value}, not {found!r}")


class MLPRecipe(DigitRecipe, frozen=True, kw_only=True, tag="mlp"):
    """Two affine layers, each with a ReLU behind it, that see all pixels at once."""

    engine: Literal["torch", "numpy"] = "torch"
    scan: Literal["whole"] = "whole"
    init: Literal["uniform", "normal"] = "uniform"
    """First weights: U(-1/sqrt(fan), 1/sqrt(fan)) as torch draws them, or 0.01 N(0,1) with zero
    biases."""


class SweepRecipe(DigitRecipe, frozen=True, kw_only=True, tag="sweep"):
    """Gated linear recurrences that sweep over a grid of patches from all four sides."""

    engine: Literal["torch"] = "torch"
    scan: Literal["patches", "pixels"] = "patches"
    layers: Depth = 4
    """Layers of four sweeps each."""


class LineRecipe(Recipe, frozen=True, kw_only=True, tag="line"):
    """Such recurrences over a line of writing, trained by CTC on composed lines.

    `data` may also be a folder of pictures with a `labels.csv`: then half of each batch is from it.
    """

    layers: Depth = 3
    """Layers of four sweeps each, before the one that runs along the line."""
    steps_per_epoch: Positive = 1000
    uses: Positive = 1
    """Times that each composed line is trained on, thousands of lines apart: on a GPU, composing
    takes longer than training."""
    handwriting: bool = True
    """Whether lines are composed of pen strokes and fonts, too, and not of `data` alone."""
    trained: Literal["all", "last"] = "all"
    """Which layers are trained: `all`, or the `last`, behind those that see the ink."""
    distillation: Amount = 0.0
    """Where a user's pictures are half of each batch: weight of answering composed lines as the
    model of `start` does (Li and Hoiem, 2016); 0 asks for their texts."""


class PageRecipe(Recipe, frozen=True, kw_only=True, tag="page"):
    """Such recurrences over a picture at two scales, trained on composed pages.

    They say of each pixel whether it is writing, and where the lines of writing run. `hidden` is
    the width of the coarse layers, on patches of 8 × 8 pixels.
    """

    layers: Positive = 3
    """Coarse layers of four sweeps each."""
    fine: Positive = 32
    """Width of the two layers on patches of 4 × 4 pixels."""
    steps_per_epoch: Positive = 500


AnyRecipe = LSTMRecipe | MLPRecipe | SweepRecipe | LineRecipe | PageRecipe
"""The tagged union that stored recipes are decoded as."""

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


_ROWS_B64 = LSTMRecipe(
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
        MLPRecipe(
            name="mlp-numpy",
            summary="784-50-10 written by hand in NumPy, plain gradient descent",
            train_on="all",
            pixels="raw",
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
        LSTMRecipe(
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
        LSTMRecipe(
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
        LSTMRecipe(
            name="lstm-rows",
            summary="the same 64-unit LSTM over the rows, trained with current methods",
            batch_size=96,
            learning_rate=0.02,
            schedule="one-cycle",
            epochs=2,
        ),
        SweepRecipe(
            name="sweep",
            summary="the digit model that ships: recurrences from all four sides of the image",
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
            negatives=0.125,
            expected_negatives=0.04,
            calibrate=True,
            tta=True,
        ),
        SweepRecipe(
            name="sprint",
            summary="99% of MNIST as soon as possible: 99.19% in 0.45 s on an H200, ten seeds",
            train_on="all",
            monitor="test",
            hidden=64,
            layers=2,
            optimizer="adamw",
            learning_rate=0.006,
            weight_decay=0.05,
            schedule="one-cycle",
            batch_size=500,
            epochs=3,
            augmentation="shift",
            label_smoothing=0.05,
        ),
        LineRecipe(
            name="line",
            summary="the number reader: recurrences over lines composed as people write",
            hidden=80,
            layers=3,
            optimizer="muon",
            learning_rate=0.006,
            weight_decay=0.05,
            clip=1.0,
            schedule="one-cycle",
            batch_size=128,
            uses=2,
            epochs=52,
            steps_per_epoch=250,
            calibrate=True,
        ),
        PageRecipe(
            name="page",
            summary="the page model: recurrences over a picture, for its ink and its lines",
            hidden=72,
            fine=32,
            layers=3,
            optimizer="muon",
            learning_rate=0.006,
            weight_decay=0.01,
            clip=1.0,
            schedule="one-cycle",
            batch_size=32,
            epochs=10,
            steps_per_epoch=500,
        ),
    )
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
