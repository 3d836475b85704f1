"""Calibration: logits scaled by one number, so that "90% sure" is right nine times in ten.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): the
probabilities softmax(logits / T), with the T that makes held-out labels most probable. No answer
changes, only how sure it is. T goes into the weights of the head, so that no engine and no model
file needs to know of it.
"""

import math
from collections.abc import Callable
from typing import Any

from rowscan.training.engines.interface import Trainer

_LOWEST, _HIGHEST = 0.25, 4.0
_TRIALS = 12
_GOLDEN = (math.sqrt(5) - 1) / 2
_HEAD = ("head.weight", "head.bias")


def calibrate(
    engine: Trainer, loss: Callable[[], float], *, prior_ratio: float = 1.0
) -> dict[str, Any]:
    """Divide the head's weights by the best temperature; what was done, for the model file.

    Args:
        engine: a trained network, whose weights are replaced.
        loss: what the network as it is makes of held-out examples, in nats; to be least.
        prior_ratio: frequency of the last class, the negatives, in use divided by its frequency in
            training. Bayes' rule then adds log(prior_ratio) to its logit (Saerens, Latinne,
            Decaestecker: "Adjusting the Outputs of a Classifier to New a Priori Probabilities",
            2002).
    """
    weights = engine.weights()
    losses: dict[float, float] = {}

    def try_out(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        heads = {name: weights[name] / weights[name].dtype.type(temperature) for name in _HEAD}
        heads["head.bias"][-1] += math.log(prior_ratio)
        engine.load_weights(weights | heads)
        losses[temperature] = loss()
        return losses[temperature]

    before = try_out(0.0)
    # Golden-section search: the loss has one minimum in log T.
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [try_out(place) for place in inner]
    for _ in range(_TRIALS):
        if values[0] < values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = try_out(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = try_out(inner[1])
    best = min(losses, key=losses.__getitem__)
    after = try_out(math.log(best))
    return {
        "method": "temperature",
        "temperature": best,
        "no_digit_odds": prior_ratio,
        "nll_before": before,
        "nll_after": after,
    }
