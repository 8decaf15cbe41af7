"""The head of LIIF (Chen, Liu and Wang, CVPR 2021), written for comparison: an image function on the same features.

Each output pixel asks a perceptron of five layers four times, once for each of its nearest input pixels, with that
pixel's 3×3 features, the offset from it and the size of an output pixel; the answers are weighted by area. As its
authors do it, in chunks of queries so that memory is bounded.
"""

from __future__ import annotations

from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesr.grid import Grid

CHUNK = 30_000
"""Queries at a time, their published default."""


class LiifHead(nn.Module):
    """Features to one channel on any grid.

    Args:
        features: C, channels of the feature map.
        hidden: width of the perceptron's four hidden layers.
    """

    def __init__(self, features: int = 64, hidden: int = 256) -> None:
        super().__init__()
        widths = [9 * features + 4, hidden, hidden, hidden, hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.perceptron = nn.Sequential(*layers, nn.Linear(hidden, 1))

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """(N, C, H, W) → (N, 1, H', W') float32."""
        height, width = features.shape[2:]
        unfolded = F.unfold(features, 3, padding=1).view(features.shape[0], -1, height, width)
        y, x = (torch.from_numpy(axis.coordinates()).to(features) for axis in (grid.rows, grid.columns))
        cell = features.new_tensor([2 * float(grid.rows.step), 2 * float(grid.columns.step)])
        flat = torch.cartesian_prod(y, x)
        parts = [self._asked(unfolded, queries, cell) for queries in flat.split(CHUNK)]
        return torch.cat(parts, dim=1).view(features.shape[0], 1, len(y), len(x))

    def _asked(self, unfolded: Tensor, queries: Tensor, cell: Tensor) -> Tensor:
        batch, _, height, width = unfolded.shape
        answers, areas = [], []
        for down, across in product((-0.5, 0.5), repeat=2):
            rows = (queries[:, 0] + down).round().clamp(0, height - 1)
            columns = (queries[:, 1] + across).round().clamp(0, width - 1)
            offset = torch.stack([queries[:, 0] - rows, queries[:, 1] - columns], dim=1)
            taken = unfolded[:, :, rows.long(), columns.long()].transpose(1, 2)
            told = torch.cat([2 * offset, cell.expand(len(queries), 2)], dim=1)
            asked = torch.cat([taken, told.expand(batch, -1, -1)], dim=2)
            answers.append(self.perceptron(asked)[..., 0])
            areas.append(offset.prod(dim=1).abs() + 1e-9)
        total = torch.stack(areas).sum(dim=0)
        # Each answer is weighted by the area across from it, so that the picture is continuous.
        return torch.stack(
            [answer * area / total for answer, area in zip(answers, reversed(areas), strict=True)]
        ).sum(dim=0)
