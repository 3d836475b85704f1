"""Composes batches of digits on PyTorch: augmented images, and negatives behind them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rowscan.arrays import Float32, Int64, UInt8
from rowscan.recipes import DigitRecipe
from rowscan.training.engines.interface import Indices
from rowscan.training.engines.torch_trainer import seeded_generator
from rowscan.training.synthesis.augmentation import as_ink, augment, shift
from rowscan.training.synthesis.negatives import draw_negatives

DIGITS = 10
"""The classes of a network trained without negatives."""
NEGATIVE = DIGITS
"""The class of negatives, in a network trained with them."""


@dataclass(frozen=True)
class ComposedDigits:
    """A batch of augmented digits, and negatives behind them."""

    ink: Float32[np.ndarray, "n height width"]
    labels: Int64[np.ndarray, " n"]
    digits: int

    def __len__(self) -> int:
        """The digits, without the negatives."""
        return self.digits


@dataclass(frozen=True)
class DigitComposer:
    """Augments digits and draws negatives: a function of the recipe's seed and the batch alone."""

    recipe: DigitRecipe
    images: UInt8[Tensor, "n height width"]
    labels: Int64[Tensor, " n"]

    def __call__(self, batch: Indices) -> ComposedDigits:
        """The batch of these images."""
        generator = seeded_generator(self.recipe.seed, *batch.tolist())
        index = torch.from_numpy(batch)
        images, labels = self.images[index], self.labels[index]
        n = negatives_of(self.recipe, batch)
        ink = torch.cat(composed(self.recipe, images, labels, n, generator))
        labels = torch.cat([labels, torch.full((n,), NEGATIVE)])
        return ComposedDigits(ink.numpy(), labels.numpy(), len(batch))


def negatives_of(recipe: DigitRecipe, batch: Indices) -> int:
    """How many negatives stand behind the digits of a batch."""
    return round(recipe.negatives * len(batch))


def composed(
    recipe: DigitRecipe,
    images: UInt8[Tensor, "n height width"],
    labels: Int64[Tensor, " n"],
    negatives: int,
    generator: torch.Generator,
    *,
    static: bool = False,
) -> tuple[Float32[Tensor, "n height width"], Float32[Tensor, "m height width"]]:
    """The ink of augmented digits, and of negatives."""
    ink = as_ink(images)
    if recipe.augmentation == "handwriting":
        ink = augment(images, labels, generator, static=static)
    elif recipe.augmentation == "shift":
        ink = shift(ink, generator)
    return ink, draw_negatives(negatives, images, labels, generator, static=static)
