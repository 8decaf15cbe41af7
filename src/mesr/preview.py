"""A preview: one slice before and after, whole and enlarged, beside a result.

Pillow is imported when something is drawn. No picture carries a text from a file's header.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .display import Region, display_for, most_detailed
from .files import atomic_path
from .intensity import HU_WINDOW, window_for
from .metrics import body_mask
from .picture import ACCENT
from .volume import FloatImage, Volume

if TYPE_CHECKING:
    from PIL import Image

PANEL = 512
"""Pixels along the longer side of a preview's panels, about."""

_MARGIN, _LINE, _TEXT = 16, 26, 17


def before_after(
    volume: Volume, result: Volume, path: Path, *, k: int | None = None, force: bool = False
) -> None:
    """A preview of one slice as PNG: the input's pixels as they are beside the result, whole and enlarged.

    Args:
        volume, result: with the same slices.
        path: of the PNG.
        k: slice; the middle one where None.
        force: replace what is there.

    Raises:
        OutputError: the picture cannot be written there.
    """
    from PIL import Image, ImageDraw, ImageFont

    k = len(volume.slices) // 2 if k is None else k
    before, after = volume.slices[k].values, result.slices[k].values
    display = display_for(after, volume.unit, window_for(volume))
    inside = body_mask(HU_WINDOW.forward(after)) if volume.unit == "HU" else None
    region = most_detailed(display.grey(after), inside=inside)
    panel = _panel_size(region.cut(after), result)
    width, height = panel
    picture = Image.new("RGB", (2 * width + 3 * _MARGIN, 2 * (height + _MARGIN + _LINE) + _MARGIN), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT)
    names = ("Before", f"After, {result.derivation.model}" if result.derivation else "After")
    for n, (name, image, owner) in enumerate(zip(names, (before, after), (volume, result), strict=True)):
        left, top = _MARGIN + n * (width + _MARGIN), _MARGIN + _LINE
        draw.text((left, _MARGIN), f"{name}: {_size(owner)}", "black", font)
        picture.paste(_panel(display.grey(image), panel), (left, top))
        draw.rectangle(_box(region, panel, left, top), outline=ACCENT, width=2)
        below = top + height + _MARGIN
        picture.paste(_panel(display.grey(region.cut(image)), panel), (left, below))
        draw.rectangle((left, below, left + width - 1, below + height - 1), outline=ACCENT, width=2)
    note = f"Slice {k + 1} of {len(volume.slices)}; window: {display.name}. Research use only."
    draw.text((_MARGIN, picture.height - _LINE - 4), note, "#555555", font)
    with atomic_path(path, force=force) as temporary:
        picture.save(temporary)


def _panel_size(image: FloatImage, owner: Volume) -> tuple[int, int]:
    """Width and height in the proportions of the field of view, a whole multiple of the image's where it is small."""
    high, wide = (owner.geometry.size[n] * owner.spacing[n] for n in (1, 2))
    longest = max(image.shape)
    longest = longest * max(1, round(PANEL / longest)) if longest < PANEL else PANEL
    return max(1, round(longest * min(1, wide / high))), max(1, round(longest * min(1, high / wide)))


def _panel(grey: FloatImage, size: tuple[int, int]) -> Image.Image:
    """Pixels as they are where enlarged, averaged where shrunk."""
    from PIL import Image

    image = Image.fromarray(np.rint(255 * grey).astype(np.uint8))
    shrunk = size[0] < image.width or size[1] < image.height
    return image.resize(size, Image.Resampling.BOX if shrunk else Image.Resampling.NEAREST)


def _box(region: Region, size: tuple[int, int], left: int, top: int) -> tuple[float, float, float, float]:
    x, y = left + region.left * size[0], top + region.top * size[1]
    return x, y, x + region.width * size[0], y + region.height * size[1]


def _size(volume: Volume) -> str:
    _, rows, columns = volume.geometry.size
    spacing = f", {volume.spacing[1]:.3g} mm" if volume.geometry.known else ""
    if volume.geometry.known and abs(volume.spacing[1] - volume.spacing[2]) > 1e-3 * volume.spacing[1]:
        spacing = f", {volume.spacing[1]:.3g} x {volume.spacing[2]:.3g} mm"
    return f"{rows} x {columns}{spacing}"
