"""Which engine a recipe is trained by; the engine's framework is imported only when it is made."""

from rowscan.errors import UsageError, requires
from rowscan.recipes import Recipe
from rowscan.training.engines.interface import GRIDS, Engine


def create(recipe: Recipe, device: str = "auto") -> Engine:
    """The engine of single digits that the recipe names, with its first weights drawn.

    Raises:
        MissingExtraError: its framework is not installed.
        UsageError: the device is not available here, or the engine or the network cannot do what
            the recipe says.
    """
    if recipe.network == "mlp" and recipe.scan != "whole":
        raise UsageError(f"an mlp sees all pixels at once: set scan=whole, not {recipe.scan!r}")
    if recipe.network == "sweep" and recipe.scan not in GRIDS:
        raise UsageError(
            f"a sweep network needs a square grid: set scan={' or '.join(GRIDS)}, "
            f"not {recipe.scan!r}"
        )
    if recipe.network == "line":
        raise UsageError("a line network reads lines, not single digits: see training.line_engine")
    _check_lstm_is_not_needed(recipe)
    if recipe.engine != "torch":
        _check_torch_is_not_needed(recipe)
        if device not in ("auto", "cpu"):
            raise UsageError(f"the {recipe.engine} engine runs on the CPU, not on {device!r}")
    if recipe.engine == "tensorflow":
        _check_tensorflow_can(recipe)
        with requires("tensorflow", "training with TensorFlow"):
            from rowscan.training.engines.tensorflow import TensorflowEngine
        return TensorflowEngine(recipe)
    if recipe.engine == "numpy":
        from rowscan.training.engines.numpy import NumpyEngine

        return NumpyEngine(recipe)
    with requires("train", "training"):
        from rowscan.training.engines.torch import TorchEngine
    return TorchEngine(recipe, device)


def _check_lstm_is_not_needed(recipe: Recipe) -> None:
    """Refuse what is said of an LSTM that is not there."""
    if recipe.network == "lstm":
        return
    for what, wanted in {
        "init=glorot": recipe.init == "glorot",
        "forget_bias": recipe.forget_bias != 0,
        "biases=1": recipe.biases == 1,
    }.items():
        if wanted:
            raise UsageError(f"{what} needs network=lstm, not {recipe.network!r}")


def _check_tensorflow_can(recipe: Recipe) -> None:
    """Refuse what the published TensorFlow system does not have."""
    for key, value in {"network": "lstm", "optimizer": "adam", "biases": 1}.items():
        if (found := getattr(recipe, key)) != value:
            raise UsageError(f"engine=tensorflow needs {key}={value}, not {found!r}")


def _check_torch_is_not_needed(recipe: Recipe) -> None:
    """Refuse what only one engine does, rather than leave it out."""
    only_torch = {
        "network=sweep": recipe.network == "sweep",
        f"optimizer={recipe.optimizer}": recipe.optimizer in ("adamw", "muon"),
        "clip": recipe.clip > 0,
        f"augmentation={recipe.augmentation}": recipe.augmentation != "none",
        "no_digits": recipe.no_digits > 0,
    }
    for what, wanted in only_torch.items():
        if wanted:
            raise UsageError(f"{what} needs engine=torch, not {recipe.engine!r}")
