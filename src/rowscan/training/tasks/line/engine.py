"""The engine of the line model: composes lines and trains a network to read them, on PyTorch.

The loss is connectionist temporal classification (CTC): minus the log of the probability of the
text, summed over all its alignments with the steps of the network (see `recognition.ctc`).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as fn

from rowscan.alphabet import ALPHABET
from rowscan.arrays import Float32, Int64, UInt8
from rowscan.recipes import LineRecipe
from rowscan.recognition.ctc import best_path
from rowscan.scans import LINE_HEIGHT, PATCH, SIDE, STEPS_A_PATCH
from rowscan.training.engines.sweep import SweepLineRecognizer
from rowscan.training.engines.torch import TorchTrainer, seeded_generator
from rowscan.training.synthesis.documents import Documents, concatenate
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import LineBatch, compose

COMPOSED = 1
"""Stream of random numbers for training lines; `held_out` uses the next one."""


class LineEngine(TorchTrainer[LineRecipe]):
    """A `SweepLineRecognizer` in training; the verbs of `engines.interface`, of lines.

    An index in a batch is the number of a line, not of an image; it seeds how the line is composed.
    """

    def __init__(self, recipe: LineRecipe, device: str = "auto") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = SweepLineRecognizer(
                LINE_HEIGHT,
                recipe.hidden,
                recipe.layers,
                recipe.hidden * 3 // 2,
                len(ALPHABET) + 1,
            )
        super().__init__(recipe, self.network, device)
        self._inks = Inks(np.empty((0, SIDE, SIDE), np.uint8), np.empty(0, np.uint8))
        self._documents: Documents | None = None

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Compose lines of these digits alone, with drawn signs."""
        self.load_inks(Inks(images, labels))

    def load_inks(self, inks: Inks) -> None:
        """Set what lines are composed of."""
        self._inks = inks

    def load_documents(self, documents: Documents) -> None:
        """Take half of each further batch from a user's own lines."""
        self._documents = documents

    def order(self, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
        """The batches of one epoch (from 0): line numbers, each used once in a training."""
        size, steps = self.recipe.batch_size, self.recipe.steps_per_epoch
        for step in range(epoch * steps, (epoch + 1) * steps):
            yield np.arange(step * size, (step + 1) * size)

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One step of the optimiser; the batch's mean loss (nats) and exact texts before it."""
        generator = seeded_generator(self.recipe.seed, COMPOSED, int(batch[0]))
        own = len(batch) // 2 if self._documents else 0
        lines = compose(len(batch) - own, self._inks, generator)
        if self._documents and own:
            lines = concatenate([lines, self._documents.sample(own, generator)])
        losses, right = [torch.empty(0, device=self.device)], 0
        for part in lines.width_buckets():
            mine = part.subset(self.group.shard(len(part.widths)))
            if not mine.widths:
                continue
            logits = self._logits(mine.ink)
            losses.append(ctc_loss(logits, mine))
            right += exact(logits.detach().softmax(-1).cpu().numpy(), mine)
        each = torch.cat(losses)
        loss = each.mean() if len(each) else torch.zeros((), device=self.device)
        share = len(each) / len(batch)
        return self.backward_and_step(loss, loss.new_tensor(right), share, learning_rate)

    @torch.inference_mode()
    def read(self, lines: LineBatch) -> tuple[Float32[np.ndarray, "time n classes"], float]:
        """Probabilities at each step, and the mean loss in nats."""
        logits = self._logits(lines.ink)
        probabilities: np.ndarray = logits.softmax(-1).cpu().numpy()
        return probabilities, float(ctc_loss(logits, lines).mean())

    def _logits(self, ink: Float32[Tensor, "n 32 width"]) -> Tensor:
        padded = fn.pad(ink, (0, -ink.shape[2] % PATCH))
        return self.network(padded.to(self.device))  # type: ignore[no-any-return]


def ctc_loss(logits: Float32[Tensor, "time n classes"], lines: LineBatch) -> Float32[Tensor, " n"]:
    """Minus the log-probability of each line's text (Graves et al. 2006), in nats."""
    texts = [character + 1 for label in lines.labels for character in label]
    return fn.ctc_loss(
        logits.log_softmax(-1),
        torch.tensor(texts, dtype=torch.int64, device=logits.device),
        torch.tensor([steps(width) for width in lines.widths]),
        torch.tensor([len(label) for label in lines.labels]),
        reduction="none",
        zero_infinity=True,  # a text that does not fit teaches nothing
    )


def steps(width: int) -> int:
    """Steps of the network on a line of `width` columns."""
    return STEPS_A_PATCH * -(-width // PATCH)


def exact(probabilities: Float32[np.ndarray, "time n classes"], lines: LineBatch) -> int:
    """How many of the lines greedy decoding reads exactly."""
    return sum(
        best_path(probabilities[: steps(width), line]) == label
        for line, (width, label) in enumerate(zip(lines.widths, lines.labels, strict=True))
    )


def held_out(inks: Inks, *, seed: int) -> Iterator[LineBatch]:
    """An endless sequence of batches of held-out lines, the same at every call with a seed."""
    batch = 0
    while True:
        yield compose(32, inks, seeded_generator(seed, COMPOSED + 1, batch))
        batch += 1
