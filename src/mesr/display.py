"""What of a slice a figure or preview shows: the grey window, the body, and the region that is enlarged."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .intensity import HU_WINDOW, Window
from .metrics import body_mask
from .volume import FloatImage, Mask

ROI_SHARE = 0.22
"""Side of the region of interest, as a share of the image's."""


class Display(NamedTuple):
    """How values become grey: `low` black, `high` white, and what that window is called."""

    low: float
    high: float
    name: str

    def grey(self, values: FloatImage) -> FloatImage:
        """Values as 0…1, clipped."""
        grey = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return np.asarray(grey, dtype=np.float32)


class Region(NamedTuple):
    """A rectangle, as shares of an image's height and width; the same place in images of any size."""

    top: float
    left: float
    height: float
    width: float

    def cut(self, image: FloatImage) -> FloatImage:
        """The pixels whose centres lie in it."""
        rows, columns = image.shape
        return image[
            math.ceil(self.top * rows - 0.5) : max(1, math.ceil((self.top + self.height) * rows - 0.5)),
            math.ceil(self.left * columns - 0.5) : max(
                1, math.ceil((self.left + self.width) * columns - 0.5)
            ),
        ]


SOFT_TISSUE = Display(-160.0, 240.0, "soft tissue, -160 to 240 HU")
LUNG = Display(-1350.0, 150.0, "lung, -1350 to 150 HU")


def display_for(values: FloatImage, unit: str, window: Window) -> Display:
    """The window a reader would choose: lung where it fills the body, else soft tissue; for MR the intensity map's.

    Args:
        values: (H, W) in the scan's unit.
        unit: "HU" or "".
        window: the volume's intensity map.
    """
    if unit != "HU":
        return Display(window.low, window.high, f"{window.low:.4g} to {window.high:.4g}")
    body = values[body_mask(HU_WINDOW.forward(values))]
    aerated = float(np.mean((body > -980) & (body < -600))) if body.size else 0.0
    return LUNG if aerated > 0.1 else SOFT_TISSUE


def most_detailed(grey: FloatImage, share: float = ROI_SHARE, inside: Mask | None = None) -> Region:
    """The square-ish region with the most edges, many small ones before a few strong.

    Args:
        grey: (H, W), 0…1.
        share: side of the region, of the image's.
        inside: (H, W), where edges count: in the patient rather than on the couch. Everywhere where it is empty.
    """
    down, across = (
        np.gradient(grey.astype(np.float64)) if min(grey.shape) > 1 else (np.zeros(grey.shape),) * 2
    )
    edges = np.minimum(np.hypot(down, across), 0.15)
    if inside is not None and inside.any():
        edges = np.where(inside, edges, 0.0)
    rows, columns = (max(1, round(share * size)) for size in grey.shape)
    sums = np.pad(edges, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    found = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = np.unravel_index(int(found.argmax()), found.shape)
    height, width = grey.shape
    return Region(int(top) / height, int(left) / width, rows / height, columns / width)


def around(body: Mask, border: float = 0.03) -> Region:
    """The part of an image that holds the body, with a border; everything where there is none."""
    if not body.any():
        return Region(0.0, 0.0, 1.0, 1.0)
    edges = []
    for axis in (1, 0):
        found = np.flatnonzero(body.any(axis=axis)) / body.shape[1 - axis]
        first = max(0.0, float(found[0]) - border)
        edges.append((first, min(1.0, float(found[-1]) + border) - first))
    (top, height), (left, width) = edges
    return Region(top, left, height, width)
