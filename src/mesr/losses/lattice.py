"""What a pattern in step with the input's pixels costs: L1 hardly sees one, and perceptual terms reward it as texture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = 1e-8
"""Under the root, whose slope at nothing has no limit."""


class Lattice:
    """How strongly the error of a patch repeats from one input pixel to the next.

    Where it does, each place within an input pixel has a mean error of its own, and even ground a grid. At a whole scale the
    value is the root mean square of these mean errors about their own mean.

    Args:
        patch: input pixels along each side of the patches.
    """

    def __init__(self, patch: int) -> None:
        self.patch = patch

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The amplitude, averaged over patches; a scalar from two (N, 1, H, W), in their range."""
        error = (sr - hr)[:, 0]
        rows, columns = (self._waves(side, sr.device) for side in error.shape[1:])
        found = torch.einsum("ay,nyx,bx->nab", rows, error.to(rows.dtype), columns)
        power = torch.view_as_real(found).square().sum(-1).flatten(1)[:, 1:].sum(1)
        return (power + LEAST**2).sqrt().mean()

    def _waves(self, side: int, device: torch.device) -> Tensor:
        """(n, side) complex: a constant, then what repeats with the input's pixels, and its overtones; at ×1 nothing does."""
        count = 1 if side <= self.patch else max(2, math.ceil(side / self.patch))
        turns = torch.arange(count, device=device)[:, None] * torch.arange(side, device=device) * self.patch
        angle = turns.remainder(side) * (2.0 * math.pi / side)
        return torch.polar(torch.full_like(angle, 1.0 / side), angle)
