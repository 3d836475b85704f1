"""Calibration by temperature scaling, so that 90% confidence means 90% correct.

Guo et al., "On Calibration of Modern Neural Networks", 2017: softmax(logits / T), with the T that
minimises the loss on held-out examples. Answers stay, confidences change. T is folded into the
weights of the head, so engines and model files need not know it.
"""

import math
from collections.abc import Callable

from rowscan.training.engines.interface import Engine

_LOWEST, _HIGHEST = 0.25, 4.0
_ITERATIONS = 12
_GOLDEN = (math.sqrt(5) - 1) / 2
_HEAD = ("head.weight", "head.bias")


def calibrate(
    engine: Engine, loss: Callable[[float], float], *, prior_ratio: float = 1.0
) -> dict[str, float]:
    """Divide the weights of the head by the best temperature; figures for the model file.

    Args:
        engine: a trained network; its weights are replaced.
        loss: loss of the network on held-out examples in nats, by the temperature, to be minimised;
            the engine has the weights of this temperature then.
        prior_ratio: frequency of the last class, the negatives, in use divided by its frequency in
            training. Bayes' rule adds log(prior_ratio) to its logit (Saerens et al., "Adjusting the
            Outputs of a Classifier to New a Priori Probabilities", 2002).
    """
    weights = engine.weights()
    losses: dict[float, float] = {}

    def evaluate(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        heads = {name: weights[name] / weights[name].dtype.type(temperature) for name in _HEAD}
        heads["head.bias"][-1] += math.log(prior_ratio)
        engine.load_weights(weights | heads)
        losses[temperature] = loss(temperature)
        return losses[temperature]

    before = evaluate(0.0)
    # Golden-section search: the loss has one minimum in log T.
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [evaluate(point) for point in inner]
    for _ in range(_ITERATIONS):
        if values[0] < values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = evaluate(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = evaluate(inner[1])
    best = min(losses, key=losses.__getitem__)
    after = evaluate(math.log(best))
    return {
        "temperature": best,
        "no_digit_odds": prior_ratio,
        "nll_before": before,
        "nll_after": after,
    }
