"""The tutorials' networks as torch modules, an LSTM and an MLP; the sweep networks are in `sweep`.

All take (time, batch, feature) and end in one affine layer, `head`.
"""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Base of all digit networks."""

    head: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) after the last step; x is (time, batch, feature)."""
        return self.every_step(x)[-1]

    def every_step(self, x: Tensor) -> Tensor:
        """Logits (time, batch, classes) after every step; x is (time, batch, feature)."""
        raise NotImplementedError


class LSTMClassifier(Classifier):
    """An LSTM over a sequence, with one affine head for the output of every step."""

    def __init__(self, features: int, hidden: int, layers: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, layers)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) after the last step; x is (time, batch, feature)."""
        output, _ = self.lstm(x)
        return self.head(output[-1])  # type: ignore[no-any-return]

    def every_step(self, x: Tensor) -> Tensor:
        """Logits (time, batch, classes) after every step; x is (time, batch, feature)."""
        output, _ = self.lstm(x)
        return self.head(output)  # type: ignore[no-any-return]


class MLPClassifier(Classifier):
    """Affine, ReLU, affine, ReLU, like the published NumPy network: no logit is negative."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden, classes)

    def every_step(self, x: Tensor) -> Tensor:
        """Logits (1, batch, classes): the whole image is one step."""
        return torch.relu(self.head(torch.relu(self.hidden(x))))
