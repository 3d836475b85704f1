"""The PyTorch engine of single digits: owns their network, images and torch's random draws.

Initial weights and batches are drawn exactly as in the published scripts: one global generator,
seeded once, draws the weights of the modules in order of construction, then two numbers per epoch
for `torch.utils.data.DataLoader` (its base seed, and the seed of the shuffle). What those scripts
lack, Glorot initialisation and epochs of a fixed number of steps, comes from `seeding`. With
recipe key `compiled` the step of an LSTM is that of `compiled`, on the same weights and state.
"""

import itertools
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rowscan.arrays import Float32, Int64, Shaped, UInt8
from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe, SweepRecipe
from rowscan.scans import SIDE, scan
from rowscan.training.engines import seeding
from rowscan.training.engines.compiled import STATE, CompiledStep, find_library
from rowscan.training.engines.cuda_graphs import Captured
from rowscan.training.engines.digit_composer import (
    DIGITS,
    NEGATIVE,
    ComposedDigits,
    DigitComposer,
    composed,
    negatives_of,
)
from rowscan.training.engines.interface import Arrays, Figures, Indices
from rowscan.training.engines.networks import Classifier, LSTMClassifier, MLPClassifier
from rowscan.training.engines.sweep import SweepClassifier
from rowscan.training.engines.torch_trainer import TorchTrainer, seed_of

_BATCHES_DRAWN = 8
"""By a GPU at a time: drawing starts 1,700 kernels, however small, a step of `sweep` 250."""
_IMAGES_A_PART = 32
"""Of a sweep network on a CPU: a layer's largest array has 5 MB then."""
_IMAGES_A_THREAD = 8
"""Images of a batch for each thread, at the least: with fewer, threads wait more than they work."""


@dataclass(frozen=True)
class DigitsOnDevice:
    """A batch of digits in reading order, and negatives behind them, where they are trained on."""

    sequences: Shaped[Tensor, "n pixel"]
    """Grey levels, 0 to 255."""
    labels: Int64[Tensor, " n"]
    digits: int

    def __len__(self) -> int:
        """The digits, without the negatives."""
        return self.digits


class TorchEngine(TorchTrainer[DigitRecipe]):
    """A digit network trained with PyTorch; a `DigitEngine` of `interface`."""

    def __init__(
        self,
        recipe: DigitRecipe,
        device: str = "auto",
        *,
        network: Callable[[], Classifier] | None = None,
    ) -> None:
        """Draw the initial weights.

        Args:
            recipe: what to train.
            device: `auto`, `cpu`, `cuda` or `mps`.
            network: builds another network instead of the recipe's, for comparisons.
        """
        self._scan = torch.from_numpy(np.array(scan(recipe.scan)))
        self._augments = recipe.augmentation != "none" or recipe.negatives > 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = network() if network else _network(recipe, *self._scan.shape)
            self._generator_state = torch.get_rng_state()
        super().__init__(recipe, self.network, device)
        self._scan = self._scan.to(self.device)
        self._images = torch.empty((0, SIDE, SIDE), dtype=torch.uint8)
        self._sequences = torch.empty((0, self._scan.numel()), dtype=torch.uint8)
        self._labels = torch.empty(0, dtype=torch.int64)
        self._generator = torch.Generator(self.device if self._captures else "cpu")
        self._in_parts = self.device.type == "cpu" and isinstance(recipe, SweepRecipe)
        self._whole_steps: dict[tuple[int, int], tuple[Tensor, Tensor, Captured]] = {}
        self._drawings: dict[tuple[int, int], tuple[Tensor, Captured]] = {}

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Take the images. Without augmentation they go to the device now, in reading order."""
        self._images = torch.from_numpy(images.copy())
        self._labels = torch.from_numpy(labels.astype(np.int64))
        if not self._augments:
            self._sequences = self._in_reading_order(self._images)
            self._labels = self._labels.to(self.device)
        elif self._captures:
            self._images, self._labels = (x.to(self.device) for x in (self._images, self._labels))
        self._whole_steps.clear()
        self._drawings.clear()
        if self._compiled:
            self._compiled.load_images(self._sequences.numpy(), self._labels.numpy())

    def order(self, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
        """The batches of one epoch, in the order of `DataLoader(shuffle=True)`."""
        n, size = len(self._images), self.recipe.batch_size
        if self.recipe.steps_per_epoch:
            yield from seeding.draw_batches(self.recipe, n, epoch)
            return
        generator = torch.Generator()
        generator.set_state(self._generator_state)
        for _ in range(epoch + 1):
            _draw_seed(generator)  # DataLoader's base seed, for its workers
            shuffle_seed = _draw_seed(generator)
        generator.manual_seed(shuffle_seed)
        if self.recipe.sampling == "shuffle":
            shuffled = torch.randperm(n, generator=generator).numpy()
            yield from (shuffled[i : i + size] for i in range(0, n, size))
        else:
            for _ in range(n // size):
                yield torch.randint(n, (size,), generator=generator).numpy()

    def feed(self, batches: Iterator[Indices]) -> Generator[Sized, None, None]:
        """As in `interface.Engine`; a GPU draws some batches at a time."""
        if not self._captures:
            yield from super().feed(batches)
            return
        while group := list(itertools.islice(batches, _BATCHES_DRAWN)):
            yield from self._on_device(group)

    def _on_device(self, group: Sequence[np.ndarray]) -> Iterator[DigitsOnDevice]:
        if self._augments:
            yield from self._composed_there(group)
            return
        for batch in group:
            index = torch.from_numpy(batch).to(self.device, non_blocking=True)
            yield DigitsOnDevice(self._sequences[index], self._labels[index], len(batch))

    def composer(self) -> Callable[[Indices], Sized] | None:
        """Augments on the CPU; a GPU does it itself."""
        if not self._augments or self._captures:
            return None
        return DigitComposer(self.recipe, self._images, self._labels)

    def step(
        self, batch: Indices | ComposedDigits | DigitsOnDevice, learning_rate: float
    ) -> Figures:
        """One optimiser step; mean loss (nats) and number of correct answers before it."""
        if self._compiled:
            assert isinstance(batch, np.ndarray)
            return self._compiled.step(batch, learning_rate)
        if self._captures:
            if isinstance(batch, np.ndarray):
                batch = next(self._on_device([batch]))
            assert isinstance(batch, DigitsOnDevice)
            return self._captured_step(batch, learning_rate)
        assert not isinstance(batch, DigitsOnDevice)
        if isinstance(batch, np.ndarray) and self._augments:
            batch = DigitComposer(self.recipe, self._images, self._labels)(batch)
        x, labels = self._stored(batch) if isinstance(batch, np.ndarray) else self._composed(batch)
        shard = self.group.shard(len(labels))
        return self.step_by_parts(self._parts(x, labels, shard, len(batch)), learning_rate)

    def _parts(
        self, x: Tensor, labels: Tensor, shard: slice, digits: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size = _IMAGES_A_PART if self._in_parts else len(labels)
        for start in range(shard.start, shard.stop, size):
            part = slice(start, min(start + size, shard.stop))
            loss, correct = self._loss(x[:, part], labels[part], max(0, digits - start))
            share = (part.stop - start) / len(labels)
            yield loss * share if share < 1 else loss, correct

    def _loss(self, x: Tensor, labels: Tensor, digits: int) -> tuple[Tensor, Tensor]:
        """The mean loss, and how many of the first ones, which are `digits`, are answered right."""
        with self.autocast():
            logits = self.network(x).float()
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.recipe.label_smoothing
        )
        return loss, (logits[:digits].detach().argmax(1) == labels[:digits]).sum()

    def _captured_step(self, batch: DigitsOnDevice, learning_rate: float) -> Figures:
        """The whole step as one graph for each size of a batch."""
        size = len(batch.labels), batch.digits
        if size not in self._whole_steps:
            copy = batch.sequences.clone(), batch.labels.clone()
            step = Captured(lambda: self._whole_step(*copy, batch.digits), self.device)
            self._whole_steps[size] = *copy, step
        sequences, labels, step = self._whole_steps[size]
        sequences.copy_(batch.sequences)
        labels.copy_(batch.labels)
        self._rate.fill_(learning_rate)
        loss, correct = step()
        return loss, correct

    def _whole_step(self, sequences: Tensor, labels: Tensor, digits: int) -> tuple[Tensor, Tensor]:
        self._zero_gradients()
        loss, correct = self._loss(self._inputs(sequences), labels, digits)
        loss.backward()  # type: ignore[no-untyped-call]
        self._clip_and_update()
        return loss.detach(), correct

    def _composed_there(self, group: Sequence[np.ndarray]) -> Iterator[DigitsOnDevice]:
        """Some batches, on the GPU, where drawing one takes as long as drawing all."""
        index = np.concatenate(group)
        negatives = [negatives_of(self.recipe, batch) for batch in group]
        size = len(index), sum(negatives)
        if size not in self._drawings:
            there = torch.zeros(len(index), dtype=torch.int64, device=self.device)
            draw = Captured(
                lambda: self._draw(there, sum(negatives)), self.device, [self._generator]
            )
            self._drawings[size] = there, draw
        there, draw = self._drawings[size]
        there.copy_(torch.from_numpy(index), non_blocking=True)
        self._generator.manual_seed(seed_of(self.recipe.seed, *group[0].tolist()))
        digits, labels, others, classes = draw()
        first = first_other = 0
        for batch, n in zip(group, negatives, strict=True):
            mine, its = slice(first, first + len(batch)), slice(first_other, first_other + n)
            sequences = torch.cat([digits[mine], others[its]])
            yield DigitsOnDevice(sequences, torch.cat([labels[mine], classes[its]]), len(batch))
            first, first_other = mine.stop, its.stop

    def _draw(self, index: Int64[Tensor, " n"], negatives: int) -> tuple[Tensor, ...]:
        with torch.device(self.device):
            images, labels = self._images[index], self._labels[index]
            both = composed(self.recipe, images, labels, negatives, self._generator, static=True)
            digits, others = (255 * self._in_reading_order(ink) for ink in both)
            return digits, labels, others, torch.full((negatives,), NEGATIVE)

    def _stored(self, batch: Indices) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(batch).to(self.device)
        return self._inputs(self._sequences[index]), self._labels[index]

    def _composed(self, batch: ComposedDigits) -> tuple[Tensor, Tensor]:
        x = self._inputs(255 * self._in_reading_order(torch.from_numpy(batch.ink)))
        return x, torch.from_numpy(batch.labels).to(self.device)

    def state(self) -> dict[str, np.ndarray]:
        """Weights, and the optimiser state as `optimizer.NAME.KEY`."""
        compiled_state = self._compiled.state if self._compiled else {}
        return super().state() | {f"optimizer.{k}": v.copy() for k, v in compiled_state.items()}

    def load_state(self, state: Arrays) -> None:
        """Restore what `state()` returned."""
        super().load_state(state)
        for key, value in (self._compiled.state if self._compiled else {}).items():
            value[...] = state.get(f"optimizer.{key}", 0)  # torch has none before its first step

    def _make_optimizers(
        self, trained: Mapping[str, nn.Parameter]
    ) -> tuple[torch.optim.Optimizer, ...]:
        """None where the step is compiled: it has the state, and torch's take a second to load."""
        self._compiled = self._compile(trained)
        return () if self._compiled else super()._make_optimizers(trained)

    def _compile(self, trained: Collection[str]) -> CompiledStep | None:
        recipe = self.recipe
        if (
            not isinstance(recipe, LSTMRecipe)
            or not recipe.compiled
            or not isinstance(self.network, LSTMClassifier)
            or recipe.optimizer not in STATE
            or self.device.type != "cpu"
            or self.group.world_size > 1
            or self._augments
            or recipe.clip
            or (library := find_library()) is None
        ):
            return None
        time, features = self._scan.shape
        grey = torch.arange(256, dtype=torch.uint8).repeat_interleave(time * features)
        return CompiledStep(
            library,
            weights={name: p.detach().numpy() for name, p in self._parameters.items()},
            trained=trained,
            optimizer=recipe.optimizer,
            levels=self._inputs(grey.view(256, -1))[0, :, 0].contiguous().numpy(),
            time=time,
            threads=max(1, min(torch.get_num_threads(), recipe.batch_size // _IMAGES_A_THREAD)),
        )

    @torch.inference_mode()
    def belief(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities after each step; that of a negative is spread evenly over the digits."""
        pixels = self._in_reading_order(torch.from_numpy(np.ascontiguousarray(images)))
        if self._compiled:
            return self._compiled.belief(pixels.numpy())
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as a model file answers
            probabilities = self.network.every_step(self._inputs(pixels)).softmax(-1)
        digits, negative = probabilities.tensor_split([DIGITS], -1)
        digits = digits + negative.sum(-1, keepdim=True) / DIGITS
        belief: np.ndarray = digits.transpose(0, 1).contiguous().cpu().numpy()
        return belief

    def _in_reading_order(self, images: Tensor) -> Tensor:
        return images.to(self.device).flatten(1)[:, self._scan.flatten()]

    def _inputs(self, sequences: Tensor) -> Tensor:
        """The network's input, float32 (time, batch, feature), from grey levels 0 to 255."""
        x = sequences.view(len(sequences), *self._scan.shape).transpose(0, 1).float()
        if self.recipe.pixels == "raw":
            return x
        x = x / 255
        return x if self.recipe.pixels == "unit" else (x - 0.5) / 0.5


def _network(recipe: DigitRecipe, steps: int, features: int) -> Classifier:
    classes = DIGITS + bool(recipe.negatives)
    network: Classifier
    if isinstance(recipe, LSTMRecipe):
        network = LSTMClassifier(features, recipe.hidden, recipe.layers, classes)
    elif isinstance(recipe, MLPRecipe):
        network = MLPClassifier(features, recipe.hidden, classes)
    else:
        assert isinstance(recipe, SweepRecipe)
        network = SweepClassifier(features, steps, recipe.hidden, recipe.layers, classes)
    if not isinstance(recipe, SweepRecipe) and recipe.init == "normal":
        for name, parameter in network.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)
    return network


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())
