"""A network as a `torch.nn.Module` on batches of slices in their own unit, for pipelines that are all PyTorch."""

from __future__ import annotations

import os
from fractions import Fraction

from torch import Tensor, nn

from ..errors import UsageError
from ..grid import Axis, Grid, Number, Target
from ..intensity import HU_WINDOW
from ..models import weights


class SuperResolution(nn.Module):
    """Slices at another magnification.

    Args:
        scale: the magnification, one number or (rows, columns); `forward` may be given another.
        model: weights, an interpolator or a .safetensors file.
        window: what the network's 0 and 1 are in the slices' unit; HU's by default. For MR give the range of the
            scan, such as its 1st and 99.5th percentile.

    Raises:
        UsageError, WeightsError: the scale makes no sense, there are no such weights.
    """

    def __init__(
        self,
        scale: Number | tuple[Number, Number] = 2,
        model: str | os.PathLike[str] = "mesr-lite",
        window: tuple[float, float] = (HU_WINDOW.low, HU_WINDOW.high),
    ) -> None:
        super().__init__()
        self.network, self.card = weights.load(os.fspath(model))
        self.scale = _scales(scale)
        self.low, self.width = window[0], window[1] - window[0]

    def forward(self, image: Tensor, scale: Number | tuple[Number, Number] | None = None) -> Tensor:
        """(N, 1, H, W) in its own unit to (N, 1, H′, W′) float32, sizes rounded halves up.

        Gradients reach the image where they are asked for; the weights are frozen.
        """
        rows, columns = self.scale if scale is None else _scales(scale)
        grid = Grid.plane(Axis.scaled(image.shape[2], rows), Axis.scaled(image.shape[3], columns))
        if grid.is_identity:
            return image.float()
        sr = self.network.whole((image.float() - self.low) / self.width, grid)
        return sr * self.width + self.low


def _scales(scale: Number | tuple[Number, Number]) -> tuple[Fraction, Fraction]:
    wanted = Target.of(scale=scale).scale or ()
    if len(wanted) > 2:
        raise UsageError("scales", "A slice is magnified along rows and columns; found three scales.")
    return wanted[0], wanted[-1]
