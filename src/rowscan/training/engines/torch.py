"""The PyTorch engine: owns the module, the optimisers and torch's random draws.

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
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rowscan.arrays import Float32, Int64, Shaped, UInt8
from rowscan.errors import ModelError, UsageError
from rowscan.recipes import DigitRecipe, LineRecipe, LSTMRecipe, MLPRecipe, Recipe, SweepRecipe
from rowscan.scans import SIDE, scan
from rowscan.training.engines import seeding
from rowscan.training.engines.compiled import STATE, CompiledStep, find_library
from rowscan.training.engines.cuda_graphs import Captured
from rowscan.training.engines.distributed import current_group
from rowscan.training.engines.interface import Arrays, Figures, Indices
from rowscan.training.engines.muon import Muon
from rowscan.training.engines.networks import Classifier, LSTMClassifier, MLPClassifier
from rowscan.training.engines.prefetch import Prefetch
from rowscan.training.engines.sweep import SweepClassifier
from rowscan.training.synthesis.augmentation import as_ink, augment, shift
from rowscan.training.synthesis.negatives import draw_negatives

R = TypeVar("R", bound=Recipe)
DIGITS = 10
NEGATIVE = DIGITS
"""The class of negatives, in a network trained with them."""
_NOT_FOR_MUON = ("embed", "head")
"""The first and the last layer, which AdamW updates."""
_BATCHES_DRAWN = 8
"""By a GPU at a time: drawing starts 1,700 kernels, however small, a step of `sweep` 250."""
_IMAGES_A_PART = 32
"""Of a sweep network on a CPU: a layer's largest array has 5 MB then."""
_IMAGES_A_THREAD = 8
"""Images of a batch for each thread, at the least: with fewer, threads wait more than they work."""


class TorchTrainer(Generic[R]):
    """A module with its optimisers: gradient steps, weights and checkpoint state."""

    def __init__(self, recipe: R, network: nn.Module, device: str) -> None:
        self.recipe = recipe
        self.group = current_group()
        self.device = _device(device)
        network.to(self.device)
        self._parameters = dict(network.named_parameters())
        if isinstance(recipe, LSTMRecipe) and recipe.init == "glorot":
            self.load_weights(seeding.initial_weights(recipe))
        else:
            seeding.set_lstm_biases(recipe, weights := self.weights())
            self.load_weights(weights)
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(seeding.is_trainable(recipe, name))
        trained = {name: p for name, p in self._parameters.items() if p.requires_grad}
        self._captures = self.device.type == "cuda" and self.group.world_size == 1
        self._rate = torch.tensor(recipe.learning_rate, device=self.device)
        self._optimizers = self._make_optimizers(trained)
        self._update = Captured(self._clip_and_update, self.device)

    def _make_optimizers(
        self, trained: Mapping[str, nn.Parameter]
    ) -> tuple[torch.optim.Optimizer, ...]:
        made = _optimizers(self.recipe, trained, self._rate if self._captures else None)
        for group in (group for optimizer in made for group in optimizer.param_groups):
            if self._captures:
                group["lr"] = self._rate  # the one tensor, should an optimiser have copied it
        return made

    def composer(self) -> Callable[[Indices], Sized] | None:
        """What makes `step`'s input of the indices of a batch, where processes do it ahead.

        It must suit `ahead.Prefetch`. None by default: `step` takes the indices.
        """
        return None

    def feed(self, batches: Iterator[Indices]) -> Generator[Sized, None, None]:
        """As in `interface.Trainer`."""
        composer = self.composer()
        if composer is None:
            yield from batches
            return
        with Prefetch(composer, batches) as composed:
            yield from composed

    def backward_and_step(
        self, loss: Tensor, correct: Tensor, share: float, learning_rate: float
    ) -> Figures:
        """One step on a batch as one part.

        Args:
            loss: mean loss over this rank's shard of the batch.
            correct: number of correct answers in the shard.
            share: size of the shard over that of the batch; 1 with one process.
            learning_rate: step size.

        Returns:
            Loss and correct answers of the whole batch.
        """
        part = loss * share if share < 1 else loss
        return self.step_by_parts([(part, correct)] if share > 0 else [], learning_rate)

    def step_by_parts(
        self, parts: Iterable[tuple[Tensor, Tensor]], learning_rate: float
    ) -> Figures:
        """Backpropagate part by part, sum over all ranks, clip, and take one optimiser step.

        A part that fits a processor's cache takes half the time there. On one GPU clipping and
        step are captured, and nothing waits for the GPU.

        Args:
            parts: of this rank's shard of the batch, each computed when it is asked for: its share
                of the batch's mean loss, and the number of its correct answers.
            learning_rate: step size.

        Returns:
            Loss and correct answers of the whole batch.
        """
        if self._captures:
            self._rate.fill_(learning_rate)
            self._zero_gradients()
        for optimizer in () if self._captures else self._optimizers:
            optimizer.zero_grad()
        loss = correct = torch.zeros((), device=self.device)
        for part, (its_loss, its_correct) in enumerate(parts):
            its_loss.backward()  # type: ignore[no-untyped-call]
            loss = loss + its_loss.detach() if part else its_loss.detach()
            correct = correct + its_correct if part else its_correct
        if self._captures:
            self._update()
            return loss, correct
        if self.group.world_size > 1:
            loss, correct = self._sum_over_ranks(loss, correct)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        self._clip_and_update()
        return loss.item(), round(correct.item())

    def _sum_over_ranks(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, ...]:
        """Sum the gradients in place, and the figures."""
        figures = torch.stack([loss, correct.float()])
        trained = [p for p in self._parameters.values() if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.group.all_reduce([figures, *(p.grad for p in trained if p.grad is not None)])
        return figures.unbind()

    def update(self, learning_rate: float) -> None:
        """Clip and take one step with the gradients that are there; on one GPU, captured."""
        self._rate.fill_(learning_rate)
        self._update()

    def _zero_gradients(self) -> None:
        """In place: a captured update reads them where they were."""
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        if gradients:
            torch._foreach_zero_(gradients)

    def _clip_and_update(self) -> tuple[Tensor, ...]:
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self._parameters.values(), self.recipe.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        return ()

    def autocast(self) -> torch.autocast:
        """Around a network of sweeps: its matrix products in bfloat16 on a GPU."""
        enabled = self._captures and isinstance(self.recipe, (SweepRecipe, LineRecipe))
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def weights(self) -> dict[str, np.ndarray]:
        """The weights, by name, as copies."""
        return {name: _copy(value) for name, value in self._parameters.items()}

    def load_weights(self, weights: Arrays) -> None:
        """Replace the weights.

        Raises:
            ModelError: names or shapes differ from those of this network.
        """
        shapes = {name: tuple(value.shape) for name, value in self._parameters.items()}
        given = {name: value.shape for name, value in weights.items()}
        if shapes != given:
            wrong = sorted(name for name in shapes | given if shapes.get(name) != given.get(name))
            raise ModelError(
                None, f"weights do not fit recipe {self.recipe.name}: {', '.join(wrong)}"
            )
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(torch.from_numpy(np.array(weights[name])))

    def state(self) -> dict[str, np.ndarray]:
        """Weights, and the optimiser state as `optimizer.NAME.KEY`."""
        optimizer_state = {
            f"optimizer.{name}.{key}": _copy(value)
            for name, parameter in self._parameters.items()
            for optimizer in self._optimizers
            for key, value in optimizer.state.get(parameter, {}).items()
        }
        return self.weights() | optimizer_state

    def load_state(self, state: Arrays) -> None:
        """Restore what `state()` returned."""
        self.load_weights({name: state[name] for name in self._parameters})
        names = {parameter: name for name, parameter in self._parameters.items()}
        for optimizer in self._optimizers:
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                prefix = f"optimizer.{names[parameter]}."
                given = {
                    key.removeprefix(prefix): torch.from_numpy(np.array(value))
                    for key, value in state.items()
                    if key.startswith(prefix)
                }
                ours = optimizer.state[parameter]
                for key, value in ours.items():  # in place: a CUDA graph reads them where they are
                    value.copy_(given.pop(key)) if given else value.zero_()
                for key, value in given.items():
                    ours[key] = value.to(self.device)


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
        n = _negatives(self.recipe, batch)
        ink = torch.cat(composed(self.recipe, images, labels, n, generator))
        labels = torch.cat([labels, torch.full((n,), NEGATIVE)])
        return ComposedDigits(ink.numpy(), labels.numpy(), len(batch))


def _negatives(recipe: DigitRecipe, batch: Indices) -> int:
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
    """The ink of augmented digits, and of so many negatives."""
    ink = as_ink(images)
    if recipe.augmentation == "handwriting":
        ink = augment(images, labels, generator, static=static)
    elif recipe.augmentation == "shift":
        ink = shift(ink, generator)
    return ink, draw_negatives(negatives, images, labels, generator, static=static)


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
    """A digit network trained with PyTorch; an [`Engine`][rowscan.training.engines.interface]."""

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
        """As in `interface.Trainer`; a GPU draws some batches at a time."""
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
        negatives = [_negatives(self.recipe, batch) for batch in group]
        size = len(index), sum(negatives)
        if size not in self._drawings:
            there = torch.zeros(len(index), dtype=torch.int64, device=self.device)
            draw = Captured(
                lambda: self._draw(there, sum(negatives)), self.device, [self._generator]
            )
            self._drawings[size] = there, draw
        there, draw = self._drawings[size]
        there.copy_(torch.from_numpy(index), non_blocking=True)
        self._generator.manual_seed(_seed(self.recipe.seed, *group[0].tolist()))
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


def _optimizers(
    recipe: Recipe, named: Mapping[str, nn.Parameter], on_device: Tensor | None
) -> tuple[torch.optim.Optimizer, ...]:
    """The optimisers; with a learning rate `on_device` as a CUDA graph needs them."""
    rate = recipe.learning_rate if on_device is None else on_device
    parameters, captured = list(named.values()), on_device is not None
    if recipe.optimizer == "muon":
        hidden = {n: p for n, p in named.items() if p.ndim == 2 and not n.startswith(_NOT_FOR_MUON)}
        muon = Muon(hidden.values(), rate, recipe.weight_decay)
        others = [p for name, p in named.items() if name not in hidden]
        return muon, _adamw(recipe, others, rate, captured)
    if recipe.optimizer == "adamw":
        return (_adamw(recipe, parameters, rate, captured),)
    if recipe.optimizer == "adam":
        return (torch.optim.Adam(parameters, lr=rate, fused=True, capturable=captured),)
    if recipe.optimizer == "adadelta":
        return (torch.optim.Adadelta(parameters, lr=rate, capturable=captured),)
    return (torch.optim.SGD(parameters, lr=rate, fused=captured),)


def _adamw(
    recipe: Recipe, parameters: Collection[nn.Parameter], rate: float | Tensor, captured: bool
) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim == 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim != 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True, capturable=captured)


def _device(name: str) -> torch.device:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, found in available.items() if found))
    if not available.get(name, False):
        names = ", ".join(device for device, found in available.items() if found)
        raise UsageError(f"device {name!r} is not available; expected one of: {names}")
    return torch.device(name)


def seeded_generator(*numbers: int) -> torch.Generator:
    """A torch generator seeded with a sequence of numbers, by NumPy's `SeedSequence`."""
    return torch.Generator().manual_seed(_seed(*numbers))


def _seed(*numbers: int) -> int:
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return int(seed >> np.uint64(1))


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())


def _copy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
