"""The engine of the page model: composes pages and trains a network to take them apart."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as fn

from rowscan.arrays import Bool, Float32, Int64, UInt8
from rowscan.recipes import PageRecipe
from rowscan.training.engines.interface import Figures, Indices
from rowscan.training.engines.prefetch import Prefetch
from rowscan.training.engines.seeding import numbered_batches
from rowscan.training.engines.segmenter import PageLogits, SweepSegmenter
from rowscan.training.engines.torch_trainer import TorchTrainer
from rowscan.training.synthesis.pages import HEIGHT_STEPS, INK, LOWEST, PageBatch, PageComposer

COMPOSED = 1
"""Stream of random numbers for training pages; held-out ones use the next."""

_PAPER_WEIGHT = 0.15  # of a pixel that is neither dark nor anything by the truth
_DARK = 0.12  # absorption
_SMOOTH = 20.0  # cells: keeps Dice's loss of a page without a band near 0
_RIGHT = 0.95  # share of the dark pixels of a page that is counted as right


class PageTruth(NamedTuple):
    """A batch of pages as tensors on the device of a training."""

    pages: Float32[Tensor, "n height width 3"]
    classes: Int64[Tensor, "n height width"]
    bands: Float32[Tensor, "n rows2 columns2"]
    weights: Float32[Tensor, "n rows2 columns2"]
    inside: Bool[Tensor, "n rows4 columns4"]
    """Where a line is, whose height and direction count."""
    geometry: Float32[Tensor, "n rows4 columns4 3"]
    """log2(height / 32), cosine and sine, as the network says them."""

    @staticmethod
    def of(batch: PageBatch, device: torch.device, some: slice = slice(None)) -> "PageTruth":
        """Some pages of a batch."""
        pages, classes, bands, weights, heights, angles = (
            torch.from_numpy(part[some]).to(device, non_blocking=True)
            for part in (
                batch.pictures,
                batch.classes,
                batch.bands,
                batch.weights,
                batch.heights,
                batch.angles,
            )
        )
        high = heights.float() / HEIGHT_STEPS + float(np.log2(LOWEST / 32))
        turn = angles.float() * (2 * torch.pi / 256)
        return PageTruth(
            pages.float() / 255,
            classes.long(),
            bands.float(),
            weights.float(),
            heights > 0,
            torch.stack([high, turn.cos(), turn.sin()], -1),
        )


class Agreement(NamedTuple):
    """How well answers fit the truth of some pages."""

    loss: float
    ink: float
    """Intersection over union of the pixels called ink, and"""
    band: float
    """of the cells called band."""


class PageEngine(TorchTrainer[PageRecipe]):
    """A `SweepSegmenter` in training; the verbs of `engines.interface`, of pages.

    An index in a batch is the number of a page, not of an image; the first one says which batch is
    composed.
    """

    def __init__(
        self, recipe: PageRecipe, device: str = "auto", *, workers: int | None = None
    ) -> None:
        """Draw the initial weights.

        Args:
            recipe: what to train.
            device: `auto`, `cpu`, `cuda` or `mps`.
            workers: processes that compose pages, by default all cores but one.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = SweepSegmenter(recipe.fine, recipe.hidden, recipe.layers)
        super().__init__(recipe, self.network, device)
        self._workers = workers
        self._composer: PageComposer | None = None
        self._ahead: Prefetch[int, PageBatch] | None = None
        self._next = 0  # the number of the batch that `_ahead` gives next

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Set the digits that pages are composed of."""
        self._composer = PageComposer.of(
            images, labels, size=self.recipe.batch_size, seed=(self.recipe.seed, COMPOSED)
        )

    def order(self, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
        """The batches of one epoch (from 0): page numbers, each used once in a training."""
        return numbered_batches(self.recipe.batch_size, self.recipe.steps_per_epoch, epoch)

    def step(self, batch: Indices, learning_rate: float) -> Figures:
        """One step of the optimiser; the batch's mean loss (nats) and pages right before it.

        A page is right where 95% of its dark pixels are.
        """
        pages = self._compose(int(batch[0]) // self.recipe.batch_size)
        shard = self.group.shard(len(batch))
        share = (shard.stop - shard.start) / len(batch)
        loss = right = torch.zeros((), device=self.device)
        if share:
            truth = PageTruth.of(pages, self.device, shard)
            found = self._answer(truth.pages)
            loss, right = page_loss(found, truth), pages_right(found, truth)
        return self.backward_and_step(loss, right, share, learning_rate)

    def close(self) -> None:
        """End the processes that compose pages; a further step starts them again."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None

    def _compose(self, number: int) -> PageBatch:
        """The pages of a batch; those of the next ones are composed meanwhile."""
        assert self._composer is not None
        if self._ahead is None or number != self._next:
            self.close()
            last = self.recipe.epochs * self.recipe.steps_per_epoch
            numbers = range(number, max(last, number + 1))
            self._ahead = Prefetch(self._composer, numbers, workers=self._workers)
        self._next = number + 1
        return next(self._ahead)

    @torch.inference_mode()
    def measure(self, batch: PageBatch) -> Agreement:
        """Loss and overlaps on some pages."""
        truth = PageTruth.of(batch, self.device)
        found = self._answer(truth.pages)
        ink, said = truth.classes == INK, found.pixels.argmax(-1) == INK
        return Agreement(
            float(page_loss(found, truth)),
            _overlap(ink, said),
            _overlap(truth.bands > 0.5, found.bands > 0),
        )

    @torch.inference_mode()
    def answer(self, pictures: UInt8[np.ndarray, "n height width 3"]) -> dict[str, np.ndarray]:
        """What the model file answers, by the names of its outputs."""
        network = copy.deepcopy(self.network).cpu()  # as a model file does, in float32
        found: PageLogits = network(torch.from_numpy(pictures).float() / 255)
        return {
            "probabilities": found.pixels.softmax(-1).numpy(),
            "bands": found.bands.sigmoid().numpy(),
            "geometry": found.geometry.numpy(),
        }

    def _answer(self, pages: Float32[Tensor, "n height width 3"]) -> PageLogits:
        fast = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=fast):
            return self.network(pages)  # type: ignore[no-any-return]


def page_loss(found: PageLogits, truth: PageTruth) -> Float32[Tensor, ""]:
    """The losses of pixels, bands and lines, added.

    Pixels: cross-entropy, where dark ones count most. Bands: binary cross-entropy, where cells
    between two lines count most, and Dice's loss (Milletari et al., "V-Net", 2016), by which a
    small band counts as much as a large one. Lines: the squared error of height and direction.
    """
    each = fn.cross_entropy(found.pixels.flatten(0, 2), truth.classes.flatten(), reduction="none")
    dark = (truth.pages.amax(-1) > _DARK) | (truth.classes > 0)
    weight = _PAPER_WEIGHT + dark.flatten().float()
    pixels = (each * weight).sum() / weight.sum()
    entropy = fn.binary_cross_entropy_with_logits(found.bands, truth.bands, truth.weights)
    bands = entropy / truth.weights.mean()
    chance = found.bands.sigmoid()
    both = (chance * truth.bands).sum((1, 2))
    dice = 1 - (2 * both + _SMOOTH) / ((chance + truth.bands).sum((1, 2)) + _SMOOTH)
    error = (found.geometry - truth.geometry).square().sum(-1) * truth.inside
    lines = error.sum() / truth.inside.sum().clamp(min=1)
    return pixels + bands + 0.5 * dice.mean() + 0.25 * lines


def pages_right(found: PageLogits, truth: PageTruth) -> Float32[Tensor, ""]:
    """How many pages have nearly all dark pixels right."""
    dark = truth.classes > 0
    right = ((found.pixels.argmax(-1) == truth.classes) & dark).sum((1, 2))
    return (right >= _RIGHT * dark.sum((1, 2))).float().sum()


def _overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
