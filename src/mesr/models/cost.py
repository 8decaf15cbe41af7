"""What a network costs: trained numbers, and multiply-adds for each low-resolution pixel."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..grid import Axis, Grid
from .registry import Spec, blueprint

PATCH = 48
"""Low-resolution pixels along the side of the patch that a patch's cost is stated for (96 at ×2, as §4.3)."""

_COUNTED = 4
"""Along the side of the one that is run to count: large enough for the head to take the form it takes on slices."""


class Cost(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: trained numbers.
        pixel: multiply-adds of its convolutions and products for one low-resolution pixel, as inference computes
            them; additions, activations, norms and the Winograd form's savings are left out.
    """

    parameters: int
    pixel: float

    @property
    def patch(self) -> float:
        """Multiply-adds for one patch of `PATCH` × `PATCH` low-resolution pixels."""
        return self.pixel * PATCH**2


def cost(spec: Spec, scale: int | str | Fraction = 2) -> Cost:
    """Count a network at a scale, by running it on a few pixels with empty weights.

    Raises:
        UsageError: as `registry.build`.
    """
    model = blueprint(spec).to_empty(device="cpu").eval()
    axis = Axis.scaled(_COUNTED, Fraction(scale))
    # In float16, which none of `kernels` takes, every convolution is PyTorch's own, which the counter sees.
    with torch.no_grad(), torch.autocast("cpu", torch.float16), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, _COUNTED, _COUNTED), Grid.plane(axis, axis))
    return Cost(model.parameter_count, counter.get_total_flops() / 2 / _COUNTED**2)
