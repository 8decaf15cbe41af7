"""SRGAN's discriminator (Ledig et al. 2017, Fig. 4); without batch norm the critic of a Wasserstein loss (§3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from .convolution import channels_last, convolution

SLOPE = 0.2
"""Of the leaky ReLUs."""


class Discriminator(nn.Module):
    """An image to a score, high for a real one: eight 3×3 convolutions, every second of stride 2, two dense layers.

    The score is the logit: SRGAN's loss brings the sigmoid (binary cross-entropy with logits), a critic has none.
    Batch norm makes one image's score depend on the others of its batch, which the gradient penalty, one norm an
    image, does not allow (Gulrajani et al. 2017).

    Args:
        features: channels of the first convolution; the last has eight times as many.
        dense: width of the hidden dense layer.
        cells: features are averaged to a grid of cells × cells before it, so that any patch fits; 6 leaves the
            published patch of 96 pixels as it is.
        batch_norm: as published; False makes a critic.
    """

    def __init__(
        self, features: int = 64, dense: int = 1024, cells: int = 6, batch_norm: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(1, features), nn.LeakyReLU(SLOPE)]
        inputs = features
        for n in range(1, 8):
            outputs = features << (n // 2)
            layers.append(nn.Conv2d(inputs, outputs, 3, 1 + n % 2, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(SLOPE))
            inputs = outputs
        self.convolutions = nn.Sequential(*layers)
        self.cells = nn.AdaptiveAvgPool2d(cells)
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs * cells * cells, dense), nn.LeakyReLU(SLOPE), nn.Linear(dense, 1)
        )
        channels_last(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) in the network's range → (N,) scores."""
        scores: Tensor = self.dense(self.cells(self.convolutions(image)))
        return scores[:, 0]
