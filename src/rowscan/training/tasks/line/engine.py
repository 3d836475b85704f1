"""The engine of the line model: composes lines and trains a network to read them, on PyTorch.

The loss is connectionist temporal classification (CTC): minus the log of the probability of the
text, summed over all its alignments with the steps of the network (see `recognition.ctc`).

Beside a user's documents, composed lines are there to prevent forgetting: on them the network is to
answer as it did at the start (Li and Hoiem, "Learning without Forgetting", 2016). Their texts would
ask for what it could not learn in a whole training.
"""

import copy
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from rowscan.alphabet import ALPHABET
from rowscan.arrays import Float, Float32, Int64, UInt8
from rowscan.recipes import LineRecipe
from rowscan.scans import LINE_HEIGHT, PATCH, SIDE
from rowscan.training.engines.cuda_graphs import CapturedPasses, GraphMemory
from rowscan.training.engines.interface import Arrays, Figures, Indices
from rowscan.training.engines.prefetch import Prefetch
from rowscan.training.engines.seeding import numbered_batches
from rowscan.training.engines.sweep import SweepLineRecognizer
from rowscan.training.engines.torch_trainer import TorchTrainer, seeded_generator
from rowscan.training.synthesis.documents import Documents, concatenate
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import LineBatch, compose
from rowscan.training.tasks.line.batches import Line, Lines, deal, send, steps

COMPOSED = 1
"""Stream of random numbers for training lines; `held_out` uses the next one."""
POOLED = 3
"""Stream of random numbers for the order of batches."""

VIEWS = 2
"""Training lines of the same writing; composing was what a GPU waited for."""
_CHUNK = 32
"""Lines composed by one call."""
_POOL = 8
"""Batches cut from lines that are sorted by width: three quarters of what they compute is then
line, not padding, on batches of 128."""
_APART = 8
"""Pools between two uses of a line, at the most."""
_LINES_A_PART = 4
"""On a CPU: a layer's largest array has about 8 MB then."""


@dataclass(frozen=True)
class LineComposer:
    """Composes a chunk of lines: a function of the recipe's seed and the chunk's number alone."""

    seed: int
    lines: int
    inks: Inks
    documents: Documents | None
    """A user's own lines, half of each chunk."""

    def __call__(self, chunk: int) -> list[Line]:
        """The lines of a chunk."""
        generator = seeded_generator(self.seed, COMPOSED, chunk)
        own = self.lines // 2 if self.documents else 0
        lines = compose(self.lines - own, self.inks, generator, views=VIEWS)
        if self.documents and own:
            lines = concatenate([lines, self.documents.sample(own, generator)])
        levels = (255 * lines.ink).round().to(torch.uint8).numpy()
        rows = zip(levels, lines.widths, lines.labels, strict=True)
        return [
            Line(ink[:, :width].copy(), label, number >= self.lines - own)
            for number, (ink, width, label) in enumerate(rows)
        ]


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
        self._teacher: SweepLineRecognizer | None = None
        self._passes: dict[tuple[int, ...], CapturedPasses] = {}
        self._memory = GraphMemory()

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Compose lines of these digits alone, with drawn signs."""
        self.load_inks(Inks(images, labels))

    def load_inks(self, inks: Inks) -> None:
        """Set what lines are composed of."""
        self._inks = inks

    def load_documents(self, documents: Documents) -> None:
        """Take half of each further batch from a user's own lines.

        With distillation, the other half keeps to the answers that the network gives now.
        """
        self._documents = documents
        if self.recipe.distillation:
            self._teacher = copy.deepcopy(self.network).requires_grad_(requires_grad=False)

    def order(self, epoch: int) -> Iterator[Indices]:
        """The batches of one epoch (from 0): line numbers, each used once in a training."""
        return numbered_batches(self.recipe.batch_size, self.recipe.steps_per_epoch, epoch)

    def lines_composer(self) -> LineComposer:
        """What composes the lines of a chunk, by its number."""
        n = math.gcd(self.recipe.batch_size, _CHUNK)
        own = self._documents if n > 1 else None
        return LineComposer(self.recipe.seed, n, self._inks, own)

    def feed(self, batches: Iterator[Indices]) -> Generator[Lines, None, None]:
        """The batches, composed ahead."""
        for first in batches:
            turn, skipped = divmod(int(first[0]) // self.recipe.batch_size, _POOL)
            chunks = itertools.count(self._first_pool(turn) * self._chunks)
            with Prefetch(self.lines_composer(), chunks) as composed:
                lines = itertools.islice(self._pooled(composed, turn), skipped, None)
                for _, batch in zip(itertools.chain([first], batches), lines, strict=False):
                    yield batch

    @property
    def _chunks(self) -> int:
        """In a pool."""
        return _POOL * self.recipe.batch_size // math.gcd(self.recipe.batch_size, _CHUNK)

    def _pool(self, turn: int) -> int:
        """The number of the pool whose lines are trained on: a new one, or one of turns ago."""
        newest, use = divmod(turn, self.recipe.uses)
        return newest - use * min(_APART, newest // self.recipe.uses)

    def _first_pool(self, turn: int) -> int:
        """The oldest pool that this turn or a later one takes."""
        newest, uses = turn // self.recipe.uses, self.recipe.uses
        return max(-(-newest // uses), newest - (uses - 1) * _APART)

    def _pooled(self, chunks: Iterator[list[Line]], turn: int) -> Iterator[Lines]:
        """Batches of lines of like widths, from all of a pool's chunks, turn by turn.

        Args:
            chunks: from the first one of `_first_pool(turn)` on.
            turn: the first turn.
        """
        pools, following = {}, self._first_pool(turn)
        while True:
            wanted, first = self._pool(turn), self._first_pool(turn)
            while following <= wanted:
                parts = itertools.islice(chunks, self._chunks)
                pools[following] = list(itertools.chain.from_iterable(parts))
                following += 1
            for old in [pool for pool in pools if pool < first]:
                del pools[old]
            rng = np.random.default_rng([self.recipe.seed, POOLED, turn])
            mixed = [pools[wanted][place] for place in rng.permutation(len(pools[wanted]))]
            batches = deal(mixed, _POOL)
            for place in rng.permutation(_POOL).tolist():
                yield Lines.of(batches[place])
            turn += 1

    def step(self, batch: Indices | Lines, learning_rate: float) -> Figures:
        """One step of the optimiser; the batch's mean loss (nats) and exact texts before it."""
        if isinstance(batch, np.ndarray):
            turn, place = divmod(int(batch[0]) // self.recipe.batch_size, _POOL)
            first = self._first_pool(turn) * self._chunks
            chunks = map(self.lines_composer(), itertools.count(first))
            batch = next(itertools.islice(self._pooled(chunks, turn), place, None))
        if self._captures:
            return self._captured_step(batch, learning_rate)
        return self.step_by_parts(self._parts(batch), learning_rate)

    def _captured_step(self, batch: Lines, learning_rate: float) -> Figures:
        """Forward and backward pass as graphs of this shape of the ink; CTC's loss between them."""
        ink = send(torch.from_numpy(batch.ink), self.device)
        truth = batch.truth(self.device)
        passes = self._passes.get(batch.ink.shape)
        if passes is None:
            trained = [p for p in self._parameters.values() if p.requires_grad]
            passes = CapturedPasses(self._answer, trained, self.device, self._memory)
            self._passes[batch.ink.shape] = passes
        logits = passes.forward(ink).detach().requires_grad_()
        wanted = self._wanted(ink.float() / 255, None, batch)
        loss = self._losses(wanted, logits, truth, batch).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        passes.backward(gradient)
        self.update(learning_rate)
        return loss.detach(), count_exact(logits.detach(), truth)

    def _answer(self, ink: UInt8[Tensor, "n 32 width"]) -> Float32[Tensor, "time n classes"]:
        with self.autocast():
            return self.network(ink.float() / 255).float()  # type: ignore[no-any-return]

    def _parts(self, batch: Lines) -> Iterator[tuple[Tensor, Tensor]]:
        shard = self.group.shard(len(batch))
        size = _LINES_A_PART if self.device.type == "cpu" else len(batch)
        for start in range(shard.start, shard.stop, size):
            part = batch.part(slice(start, min(start + size, shard.stop)))
            ink, truth = part.to(self.device), part.truth(self.device)
            with self.autocast():
                seen = self.network.see(ink)
                logits = self.network.answer(seen).float()
            wanted = self._wanted(ink, seen, part)
            loss = self._losses(wanted, logits, truth, part).sum() / len(batch)
            yield loss, count_exact(logits.detach(), truth)

    def _wanted(
        self,
        ink: Float32[Tensor, "n 32 width"],
        seen: Float[Tensor, "columns n joining"] | None,
        lines: Lines,
    ) -> Float32[Tensor, "time n classes"] | None:
        """The teacher's logits, if there are one and composed lines.

        Where the last layers alone are trained, the others' answer, `seen`, is the teacher's too.
        """
        if self._teacher is None or all(lines.own):
            return None
        with torch.no_grad(), self.autocast():
            if seen is None or self.recipe.trained != "last":
                seen = self._teacher.see(ink)
            return self._teacher.answer(seen).float()

    def _losses(
        self,
        wanted: Float32[Tensor, "time n classes"] | None,
        logits: Float32[Tensor, "time n classes"],
        truth: Int64[Tensor, "n longest_and_2"],
        lines: Lines,
    ) -> Float32[Tensor, " n"]:
        """Of each line: CTC's; of composed lines how far it is from the teacher's answers."""
        losses = _ctc(logits, truth[:, 2:].contiguous(), lines.steps, lines.lengths)
        if wanted is None:
            return losses
        apart = self.recipe.distillation * divergence(wanted, logits, truth[:, 0])
        return torch.where(torch.tensor(lines.own, device=logits.device), losses, apart)

    @torch.inference_mode()
    def measure(self, lines: Sequence[Line]) -> tuple[int, float]:
        """How many of the lines greedy decoding reads exactly, and the mean loss in nats.

        As `read`, but quicker: lines of like widths are read together.
        """
        right, loss = 0, 0.0
        for part in self._by_width(lines):
            logits, truth = self._logits(part.to(self.device)), part.truth(self.device)
            right += int(count_exact(logits, truth))
            texts = truth[:, 2:].contiguous()
            loss += float(_ctc(logits, texts, part.steps, part.lengths).sum())
        return right, loss / max(1, len(lines))

    @torch.inference_mode()
    def compare(self, weights: Sequence[Arrays], lines: Sequence[Line]) -> list[int]:
        """How many of the lines greedy decoding reads exactly with each of several weights.

        Where the last layers alone are trained, the others see each line once.
        """
        networks = [copy.deepcopy(self.network) for _ in weights]
        for network, arrays in zip(networks, weights, strict=True):
            network.load_state_dict({name: torch.from_numpy(w) for name, w in arrays.items()})
        right = np.zeros(len(networks), np.int64)
        for part in self._by_width(lines):
            ink, truth = part.to(self.device), part.truth(self.device)
            once = self.network.see(ink) if self.recipe.trained == "last" else None
            seen = (network.see(ink) if once is None else once for network in networks)
            answers = (network.answer(x) for network, x in zip(networks, seen, strict=True))
            right += [int(count_exact(answer, truth)) for answer in answers]
        return right.tolist()

    def _by_width(self, lines: Sequence[Line]) -> Iterator[Lines]:
        """Batches of lines of like widths."""
        size = _LINES_A_PART if self.device.type == "cpu" else _CHUNK
        ordered = sorted(lines, key=lambda line: line.ink.shape[1])
        for start in range(0, len(ordered), size):
            yield Lines.of(ordered[start : start + size])

    @torch.inference_mode()
    def read(self, lines: LineBatch) -> tuple[Float32[np.ndarray, "time n classes"], float]:
        """Probabilities at each step, and the mean loss in nats."""
        size = _LINES_A_PART if self.device.type == "cpu" else len(lines.ink)
        starts = range(0, len(lines.ink), size)
        logits = torch.cat([self._logits(lines.ink[i : i + size]) for i in starts], 1)
        probabilities: np.ndarray = logits.softmax(-1).cpu().numpy()
        return probabilities, float(ctc_loss(logits, lines).mean())

    def _logits(self, ink: Float32[Tensor, "n 32 width"]) -> Tensor:
        padded = fn.pad(ink, (0, -ink.shape[2] % PATCH))
        return self.network(padded.to(self.device))  # type: ignore[no-any-return]


def ctc_loss(logits: Float32[Tensor, "time n classes"], lines: LineBatch) -> Float32[Tensor, " n"]:
    """Minus the log-probability of each line's text (Graves et al. 2006), in nats."""
    texts = [torch.tensor(label, dtype=torch.int64) + 1 for label in lines.labels]
    padded = nn.utils.rnn.pad_sequence(texts, batch_first=True).to(logits.device)
    return _ctc(
        logits, padded, [steps(width) for width in lines.widths], [len(text) for text in texts]
    )


def _ctc(
    logits: Float32[Tensor, "time n classes"],
    texts: Int64[Tensor, "n longest"],
    times: Sequence[int],
    lengths: Sequence[int],
) -> Float32[Tensor, " n"]:
    return fn.ctc_loss(
        logits.log_softmax(-1),
        texts,
        torch.tensor(times),  # on the CPU, where a GPU's kernels are chosen by them
        torch.tensor(lengths),
        reduction="none",
        zero_infinity=True,  # a text that does not fit teaches nothing
    )


def divergence(
    wanted: Float32[Tensor, "time n classes"],
    logits: Float32[Tensor, "time n classes"],
    times: Int64[Tensor, " n"],
) -> Float32[Tensor, " n"]:
    """Kullback-Leibler divergence from the answers `wanted`, summed over the steps of each line.

    Args:
        wanted: logits of a teacher.
        logits: of the network.
        times: the steps of each line; what comes after is padding.
    """
    target, found = wanted.log_softmax(-1), logits.log_softmax(-1)
    each = (target.exp() * (target - found)).sum(-1)
    inside = torch.arange(len(each), device=each.device)[:, None] < times
    return torch.where(inside, each, 0.0).sum(0)


def count_exact(
    logits: Float32[Tensor, "time n classes"], truth: Int64[Tensor, "n longest_and_2"]
) -> Int64[Tensor, ""]:
    """How many of the lines greedy decoding reads exactly, without a word to the host.

    Args:
        logits: of the network.
        truth: a row a line: its steps, the length of its text, and the text's classes, then zeros.
    """
    times, lengths, texts = truth[:, 0], truth[:, 1], truth[:, 2:].T
    path, longest = logits.argmax(-1), len(texts)
    inside = torch.arange(len(path), device=path.device)[:, None] < times
    new = inside & (path > 0)
    new[1:] &= path[1:] != path[:-1]
    place = torch.where(new, new.cumsum(0).clamp(max=longest + 1), 0)
    found = path.new_zeros(longest + 2, path.shape[1]).scatter_(0, place, path)
    right = (found[1 : longest + 1] == texts).all(0) & (new.sum(0) == lengths)
    return right.sum()


def held_out(inks: Inks, *, seed: int, lines: int = 32) -> Iterator[LineBatch]:
    """An endless sequence of batches of held-out lines, the same at every call with a seed."""
    batch = 0
    while True:
        yield compose(lines, inks, seeded_generator(seed, COMPOSED + 1, batch))
        batch += 1
