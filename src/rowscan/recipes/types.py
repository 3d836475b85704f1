"""The types of recipes: all of a training as a frozen value, one type for each network.

A key which makes no sense for a network does not exist on its recipe.
"""

from typing import Annotated, Literal

import msgspec

from rowscan.errors import UsageError

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
