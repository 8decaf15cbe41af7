"""Figures: methods beside the truth with their errors in the scan's unit, and what a change to a method's answer leads to.

matplotlib is imported when something is drawn. No picture carries a text from a file's header.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .display import Display, Region, around, display_for, most_detailed
from .files import atomic_path
from .intensity import HU_WINDOW, Window
from .metrics import body_mask, inner, psnr
from .volume import FloatImage, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

ACCENT = "#d1495b"


class Finish(NamedTuple):
    """What a picture is written as: the file's kind by its suffix, and dots an inch."""

    suffix: str = ".png"
    dots: float = 150


def comparison(
    lr: FloatImage,
    images: Mapping[str, FloatImage],
    hr: FloatImage,
    path: Path,
    window: Window = HU_WINDOW,
    unit: str = "HU",
    *,
    display: Display | None = None,
    region: Region | None = None,
    aspect: float = 1.0,
    title: str = "",
    dots: float = Finish().dots,
    force: bool = False,
) -> None:
    """A figure: input, every method and the truth, whole and enlarged, and each method's error with a colour bar.

    Args:
        lr: (H, W) in the scan's unit.
        images: method to (H', W'), in the scan's unit.
        hr: (H', W'), the truth.
        path: of the figure; PNG, WebP, PDF or SVG by its suffix.
        window: intensity map, for the PSNR.
        unit: "HU" or "".
        display: grey window; chosen by `display_for` where None.
        region: what is enlarged; the most detailed where None.
        aspect: dy/dx of the truth's pixels.
        dots: an inch.
        force: replace what is there.

    Raises:
        OutputError: the figure cannot be written there.
    """
    errors = {name: image - hr for name, image in images.items()}
    judged = _judged(lr, hr, body_mask(window.forward(hr)))
    maps = {
        name: (f"body MAE {float(np.abs(judged(error)).mean()):.1f} {unit}".rstrip(), error)
        for name, error in errors.items()
    }
    told = f"method minus\nreference, {unit or 'units'}"
    figure = _beside(lr, images, hr, maps, told, window, unit, display, region, aspect, title)
    _save(figure, path, dots, force)


def change(
    lr: FloatImage,
    before: FloatImage,
    after: FloatImage,
    hr: FloatImage,
    path: Path,
    window: Window = HU_WINDOW,
    unit: str = "HU",
    *,
    names: tuple[str, str] = ("before", "after"),
    title: str = "",
    dots: float = Finish().dots,
    force: bool = False,
) -> None:
    """A figure: input, an image before and after a change and the truth; then the change, and where it leads away from the truth.

    Args:
        lr: (H, W) in the scan's unit.
        before, after, hr: (H', W'), in the scan's unit.
        path, window, unit, title, dots, force: as for `comparison`.
        names: of `before` and `after`.

    Raises:
        OutputError: the figure cannot be written there.
    """
    changed, farther = after - before, np.abs(after - hr) - np.abs(before - hr)
    judged = _judged(lr, hr, body_mask(window.forward(hr)))
    worse, better = (float((judged(farther) * sign).clip(0).mean()) for sign in (1, -1))
    maps = {
        names[0]: (f"changed by {float(np.abs(judged(changed)).mean()):.1f} {unit}".rstrip(), changed),
        names[1]: (f"away {worse:.1f}, nearer {better:.1f} {unit}".rstrip(), farther),
    }
    told = f"left, what changed;\nright, where the error\ngrew (red) or shrank.\nMeans over the body, {unit or 'units'}"
    figure = _beside(
        lr, dict(zip(names, (before, after), strict=True)), hr, maps, told, window, unit, title=title
    )
    _save(figure, path, dots, force)


def _judged(lr: FloatImage, hr: FloatImage, body: Mask) -> Callable[[FloatImage], FloatImage]:
    """Takes the pixels of an image that are judged: the body's, or all where there is none, less a border."""
    border = _border(lr, hr)
    inside = inner(body, border) if body.any() else np.ones_like(inner(body, border))
    return lambda image: inner(image, border)[inside]


def _border(lr: FloatImage, hr: FloatImage) -> int:
    border: int = max(math.ceil(n / m) for n, m in zip(hr.shape, lr.shape, strict=True))
    return border


def _beside(
    lr: FloatImage, images: Mapping[str, FloatImage], hr: FloatImage, maps: Mapping[str, tuple[str, FloatImage]], told: str,
    window: Window, unit: str, display: Display | None = None, region: Region | None = None, aspect: float = 1.0, title: str = "",
) -> Figure:  # fmt: skip
    """Input, images and the truth side by side, whole and enlarged, and below each image a map with its heading.

    Args:
        told: what the maps' colours are.
    """
    from matplotlib.figure import Figure

    display = display or display_for(hr, unit, window)
    border, body = _border(lr, hr), body_mask(window.forward(hr))
    region = region or most_detailed(display.grey(hr), inside=body)
    view = around(body)
    judged = _judged(lr, hr, body)
    limit = _round_up(max(float(np.percentile(np.abs(judged(values)), 97)) for _, values in maps.values()))
    columns = len(images) + 2
    tall = aspect * (view.height * hr.shape[0]) / (view.width * hr.shape[1])
    closer = aspect * (region.height * hr.shape[0]) / (region.width * hr.shape[1])
    figure = Figure((2.5 * columns, 2.5 * (2 * tall + closer) + (1.1 if title else 0.85)), facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.03, w_pad=0.03, hspace=0.01, wspace=0.01)
    panels = figure.subplots(3, columns, squeeze=False, height_ratios=[tall, closer, tall])
    shown = {"input": lr, **images, "reference": hr}
    for column, (name, image) in enumerate(shown.items()):
        above, middle, below = panels[:, column]
        for axes, part in ((above, view), (middle, region)):
            _grey(axes, image, hr.shape, display, aspect)
            _show_only(axes, part, hr.shape)
        _frame(above, middle, region, hr.shape)
        quality = (
            f"PSNR {psnr(window.forward(image), window.forward(hr), border):.2f} dB"
            if image.shape == hr.shape and image is not hr
            else f"{image.shape[1]}×{image.shape[0]}"
        )
        above.set_title(f"{name}\n{quality}", fontsize=9)
        if name not in maps:
            below.axis("off")
            continue
        heading, values = maps[name]
        mappable = below.imshow(
            values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect,
            extent=(0, hr.shape[1], hr.shape[0], 0),
        )  # fmt: skip
        _bare(below)
        _show_only(below, view, hr.shape)
        below.set_title(heading, fontsize=9)
    _colour_bar(figure, panels[2, -1], mappable, unit)
    panels[2, 0].text(
        0.0, 0.98, f"Grey: {display.name}.\nFrame: enlarged below.\nColour: {told}.",
        va="top", fontsize=9, color="#333333", transform=panels[2, 0].transAxes,
    )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


class Restored(NamedTuple):
    """A slice shrunk by one scale: input (H, W), each method's answer and the truth (H', W'), in the scan's unit."""

    lr: FloatImage
    images: Mapping[str, FloatImage]
    hr: FloatImage


def over_scales(
    shown: Mapping[str, Restored], path: Path, window: Window = HU_WINDOW, unit: str = "HU", *,
    title: str = "", dots: float = 130, force: bool = False,
) -> None:  # fmt: skip
    """A figure: a column for each scale; the input and every method's answer enlarged, then every method's error.

    Args:
        shown: the same slice by scale, with the same methods.
        path: of the figure; PNG, WebP, PDF or SVG by its suffix.
        window, unit, dots: as for `comparison`.

    Raises:
        OutputError: the figure cannot be written there.
    """
    from matplotlib.figure import Figure

    first = next(iter(shown.values()))
    display = display_for(first.hr, unit, window)
    body = body_mask(window.forward(first.hr))
    region, view = most_detailed(display.grey(first.hr), inside=body), around(body)
    methods = list(first.images)
    errors = {(scale, name): one.images[name] - one.hr for scale, one in shown.items() for name in methods}
    limit = _round_up(max(float(np.percentile(np.abs(error), 97)) for error in errors.values()))
    tall = view.height * first.hr.shape[0] / (view.width * first.hr.shape[1])
    closer = region.height * first.hr.shape[0] / (region.width * first.hr.shape[1])
    heights = [closer] * (len(methods) + 1) + [tall] * len(methods)
    columns = len(shown) + 1
    figure = Figure((2.2 * columns, 2.4 * sum(heights) + 0.9), facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.03, w_pad=0.03, hspace=0.01, wspace=0.01)
    panels = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for column, (scale, one) in enumerate(shown.items()):
        for row, (name, image) in enumerate({f"input, ×{scale}": one.lr, **one.images}.items()):
            axes = panels[row, column]
            _grey(axes, image, one.hr.shape, display, 1.0)
            _show_only(axes, region, one.hr.shape)
            quality = (
                psnr(window.forward(image), window.forward(one.hr), math.ceil(float(scale))) if row else 0.0
            )
            axes.set_title(f"{name}\n{quality:.2f} dB" if row else name, fontsize=8)
        for row, name in enumerate(methods, len(methods) + 1):
            axes = panels[row, column]
            mappable = axes.imshow(
                errors[scale, name],
                cmap="RdBu_r",
                vmin=-limit,
                vmax=limit,
                extent=(0, one.hr.shape[1], one.hr.shape[0], 0),
            )
            _bare(axes)
            _show_only(axes, view, one.hr.shape)
            axes.set_title(f"{name} minus reference", fontsize=8)
    _grey(panels[0, -1], first.hr, first.hr.shape, display, 1.0)
    _show_only(panels[0, -1], region, first.hr.shape)
    panels[0, -1].set_title("reference", fontsize=8)
    for axes in panels[1:, -1]:
        axes.axis("off")
    _colour_bar(figure, panels[-1, -1], mappable, unit)
    panels[1, -1].text(
        0.0,
        0.98,
        f"Grey: {display.name}.",
        va="top",
        fontsize=8,
        color="#333333",
        transform=panels[1, -1].transAxes,
    )
    if title:
        figure.suptitle(title, fontsize=11)
    _save(figure, path, dots, force)


def _save(figure: Figure, path: Path, dots: float, force: bool) -> None:
    """As WebP close to lossless."""
    with atomic_path(path, force=force) as temporary:
        if path.suffix == ".webp":
            figure.savefig(temporary, dpi=dots, pil_kwargs={"quality": 90})
        else:
            figure.savefig(temporary, dpi=dots)


def _grey(axes: Axes, image: FloatImage, shape: tuple[int, ...], display: Display, aspect: float) -> None:
    """An image of any size over the truth's field of view, its pixels as they are where it is enlarged."""
    axes.imshow(
        image, cmap="gray", vmin=display.low, vmax=display.high, aspect=aspect,
        extent=(0, shape[1], shape[0], 0), interpolation="nearest" if image.shape != shape else "auto",
    )  # fmt: skip
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _frame(whole: Axes, enlarged: Axes, region: Region, shape: tuple[int, ...]) -> None:
    from matplotlib.patches import Rectangle

    corner = (region.left * shape[1], region.top * shape[0])
    size = (region.width * shape[1], region.height * shape[0])
    whole.add_patch(Rectangle(corner, *size, fill=False, edgecolor=ACCENT, linewidth=1.2))
    for spine in enlarged.spines.values():
        spine.set_visible(True)
        spine.set_edgecolor(ACCENT)


def _show_only(axes: Axes, region: Region, shape: tuple[int, ...]) -> None:
    axes.set_xlim(region.left * shape[1], (region.left + region.width) * shape[1])
    axes.set_ylim((region.top + region.height) * shape[0], region.top * shape[0])


def _colour_bar(figure: Figure, beside: Axes, mappable: AxesImage, unit: str) -> None:
    place = beside.inset_axes((0.02, 0.05, 0.09, 0.9))
    bar = figure.colorbar(mappable, cax=place, extend="both")
    bar.set_label(f"difference, {unit}" if unit else "difference, scan's unit", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _round_up(value: float) -> float:
    """The next of 1, 2, 3, 5, 10, 20, … above `value`; for a colour bar's ends."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 3, 5, 10) if power * step >= value)
