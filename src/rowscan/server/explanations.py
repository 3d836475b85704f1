"""Explanations: what a model believed step by step, as JSON."""

from typing import Any

import numpy as np

from rowscan.explanation import Explanation
from rowscan.line_explanation import LineExplanation


def explanation_json(found: Explanation | LineExplanation) -> dict[str, Any]:
    """The object that `/v1/explain` answers with: of one digit, or of a line."""
    if isinstance(found, Explanation):
        return {
            "digit": found.digit,
            "confidence": round(found.confidence, 4),
            "scan": found.scan,
            "belief": _rounded(found.belief, 4),
            "picture": found.picture.tolist(),
        }
    return {
        "text": found.line.text,
        "confidence": round(found.line.confidence, 4),
        "box": list(found.line.box),
        "alphabet": list(found.alphabet),
        "belief": _rounded(found.belief, 4),
        "places": _rounded(found.places, 1),
        "steps": list(found.steps),
        "picture": found.picture.tolist(),
    }


def _rounded(array: np.ndarray, digits: int) -> Any:
    return np.round(array.astype(float), digits).tolist()
