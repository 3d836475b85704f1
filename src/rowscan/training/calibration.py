"""Calibration: logits scaled by one number, so that "90% sure" is right nine times in ten.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): the
probabilities softmax(logits / T), with the T that makes held-out labels most probable. No answer
changes, only how sure it is. T goes into the weights of the head, so that no engine and no model
file needs to know of it.
"""

import math
from typing import Any

from rowscan.data import Split
from rowscan.evaluation import score_digits
from rowscan.training.engine import Engine, predict_proba

_LOWEST, _HIGHEST = 0.25, 4.0
_TRIALS = 12
_GOLDEN = (math.sqrt(5) - 1) / 2


def calibrate(engine: Engine, held_out: Split) -> dict[str, Any]:
    """Divide the head's weights by the best temperature; what was done, for the model file.

    Args:
        engine: a trained network, whose weights are replaced.
        held_out: images that it was not trained on.
    """
    weights = engine.weights()
    nll: dict[float, float] = {}

    def try_out(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        heads = {name: weights[name] / weights[name].dtype.type(temperature) for name in _HEAD}
        engine.load_weights(weights | heads)
        scored = score_digits(predict_proba(engine, held_out.images), held_out.labels)
        nll[temperature] = scored.nll
        return scored.nll

    before = try_out(0.0)
    # Golden-section search: the mean NLL has one minimum in log T.
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
    best = min(nll, key=nll.__getitem__)
    after = try_out(math.log(best))
    return {
        "method": "temperature",
        "temperature": best,
        "images": len(held_out),
        "nll_before": before,
        "nll_after": after,
    }


_HEAD = ("head.weight", "head.bias")
