"""Invertible linear maps from a scan's own values to the range the networks see, 0 to 1 or so.

Nothing is clipped: bone and metal lie above 1 and come back as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import UnsupportedInput
from .volume import FloatImage, Mask, Volume

AIR_HU = -1024.0
BODY_HU = -500.0
"""Between a patient's tissue and the air around."""
IMPOSSIBLE_HU = -2000.0
"""At this and below a CT value is no measurement but padding that the header did not declare (GE writes −3024)."""


@dataclass(frozen=True)
class Window:
    """The map `low ↦ 0, high ↦ 1`, linear and unclipped.

    Attributes:
        low, high: in the scan's unit, high above low.
    """

    low: float
    high: float

    def forward(self, values: npt.NDArray[np.floating]) -> FloatImage:
        """From the scan's unit to the network's, float32, any shape."""
        return np.asarray((values - np.float32(self.low)) * np.float32(1 / self.width), dtype=np.float32)

    def inverse(self, values: npt.NDArray[np.floating], *, in_place: bool = False) -> FloatImage:
        """From the network's range back to the scan's unit, float32, any shape; `in_place` for float32 values only."""
        out = values if in_place else None
        mapped: FloatImage = np.asarray(
            np.multiply(values, np.float32(self.width), out=out), dtype=np.float32
        )
        mapped += np.float32(self.low)
        return mapped

    @property
    def width(self) -> float:
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.low:.9g} to {self.high:.9g} as 0 to 1"


HU_WINDOW = Window(-1000.0, 1000.0)
"""The paper's window: stored units 0–2000 offset by 1000 (`protocol.md`, Images)."""


def robust_window(volume: Volume, slices: int = 32) -> Window:
    """The 1st to 99.5th percentile of a volume, from at most `slices` of its slices, evenly spread.

    Raises:
        UnsupportedInput: nothing finite was measured.
    """
    count = len(volume.slices)
    chosen = np.unique(np.linspace(0, count - 1, min(slices, count)).round().astype(int))
    samples = []
    for k in chosen:
        one = volume.slices[int(k)]
        values = one.values if one.padding is None else one.values[~one.padding]
        samples.append(values.ravel()[:: max(1, values.size // 65_536)])
    values = np.concatenate(samples)
    if not values.size:
        raise UnsupportedInput("no-values", "The image holds nothing but padding.")
    low, high = (float(v) for v in np.percentile(values, [1.0, 99.5]))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return Window(low, high) if high > low else Window(low, low + 1.0)


def window_for(volume: Volume) -> Window:
    """The map a volume is given to the networks with: the HU window for CT, the robust range for all else."""
    return HU_WINDOW if volume.unit == "HU" else robust_window(volume)


def missing(values: FloatImage, padding: Mask | None, unit: str) -> Mask | None:
    """Where nothing was measured: the declared padding, and CT values no tissue or air can have."""
    if unit == "HU":
        impossible = values <= IMPOSSIBLE_HU
        if padding is not None:
            impossible &= ~padding
        if impossible.any():
            padding = impossible if padding is None else padding | impossible
    return padding if padding is not None and padding.any() else None
