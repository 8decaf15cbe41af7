"""What a network costs: trained numbers, and multiply-adds for each low-resolution pixel."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..grid import Axis, Grid
from .registry import Spec, blueprint

PATCH = 48
"""Low-resolution pixels along the side of the patch that a patch's cost is stated for (96 at ×2, as §4.3)."""

_COUNTED = (8, 10, 12, 14)
"""Along the sides of those that are run to count: large enough for the head to take the form it takes on slices."""


class Cost(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: trained numbers.
        pixel: multiply-adds of its convolutions and products for one more low-resolution pixel, as inference
            computes them; additions, activations, norms and the Winograd form's savings are left out, and so is what
            is computed once a scale whatever the size, a meta head's kernels.
    """

    parameters: int
    pixel: float

    @property
    def patch(self) -> float:
        """Multiply-adds for one patch of `PATCH` × `PATCH` low-resolution pixels."""
        return self.pixel * PATCH**2


def cost(spec: Spec, scale: int | str | Fraction = 2) -> Cost:
    """Count a network at a scale, by running it with empty weights on images of several sizes.

    Convolutions grow with the square of the side. Interpolation, by whole matrices here, grows with its cube and on
    slices is computed otherwise; what is made once a scale does not grow. So the square's coefficient is the count.

    Raises:
        UsageError: as `registry.build`.
    """
    model = blueprint(spec).to_empty(device="cpu").eval()
    counts = [_multiply_adds(model, side, Fraction(scale)) for side in _COUNTED]
    cubic = np.linalg.solve(np.vander(_COUNTED, 4), counts)
    return Cost(model.parameter_count, float(round(cubic[1])))


def _multiply_adds(model: nn.Module, side: int, scale: Fraction) -> float:
    """Of one image of so many pixels along its sides."""
    axis = Axis.scaled(side, scale)
    # In float16, which none of `kernels` takes, every convolution is PyTorch's own, which the counter sees.
    with torch.no_grad(), torch.autocast("cpu", torch.float16), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, side, side), Grid.plane(axis, axis))
    return float(counter.get_total_flops()) / 2
