"""What every engine on PyTorch is made of: a module, its optimisers, steps, weights and state."""

from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rowscan.errors import ModelError, UsageError
from rowscan.recipes import LineRecipe, LSTMRecipe, Recipe, SweepRecipe
from rowscan.training.engines import seeding
from rowscan.training.engines.cuda_graphs import Captured
from rowscan.training.engines.distributed import current_group
from rowscan.training.engines.interface import Arrays, Figures, Indices
from rowscan.training.engines.muon import Muon
from rowscan.training.engines.prefetch import Prefetch

R = TypeVar("R", bound=Recipe)
_NOT_FOR_MUON = ("embed", "head")
"""The first and the last layer, which AdamW updates."""


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

        It must suit `prefetch.Prefetch`. None by default: `step` takes the indices.
        """
        return None

    def feed(self, batches: Iterator[Indices]) -> Generator[Sized, None, None]:
        """As in `interface.Engine`."""
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
    return torch.Generator().manual_seed(seed_of(*numbers))


def seed_of(*numbers: int) -> int:
    """A seed for torch from a sequence of numbers: 63 bits."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return int(seed >> np.uint64(1))


def _copy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
