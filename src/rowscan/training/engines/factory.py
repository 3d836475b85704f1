"""Which engine trains a recipe; an engine's framework is imported only when one is made."""

from rowscan.errors import UsageError, requires
from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe
from rowscan.training.engines.interface import DigitEngine


def create(recipe: DigitRecipe, device: str = "auto") -> DigitEngine:
    """The engine that the recipe names, with its first weights drawn.

    Raises:
        MissingExtraError: its framework is not installed.
        UsageError: the device is not available here.
    """
    if recipe.engine != "torch" and device not in ("auto", "cpu"):
        raise UsageError(f"the {recipe.engine} engine runs on the CPU, not on {device!r}")
    if recipe.engine == "tensorflow":
        assert isinstance(recipe, LSTMRecipe)
        with requires("tensorflow", "training with TensorFlow"):
            from rowscan.training.engines.tensorflow import TensorflowEngine
        return TensorflowEngine(recipe)
    if recipe.engine == "numpy":
        assert isinstance(recipe, (LSTMRecipe, MLPRecipe))
        from rowscan.training.engines.numpy import NumpyEngine

        return NumpyEngine(recipe)
    with requires("train", "training"):
        from rowscan.training.engines.torch import TorchEngine
    return TorchEngine(recipe, device)
