"""From a volume and a wish to its super-resolved form: which modality, which weights, and what to warn of.

Every door ends here. Whatever was decided for the user is told in the result's notes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from .device import Precision
from .errors import UsageError, WeightsError
from .grid import Grid, Number, Target
from .inference import Options, upscale_volume
from .modality import identified
from .models import SuperResolver, weights
from .models.weights import Card
from .volume import Note, Volume

Loaded = tuple[SuperResolver, Card]
Loader = Callable[[str], Loaded]
PREFERRED = (weights.ALIASES["mesr-lite"], weights.ALIASES["mesr"])
"""Shipped weights in the order `auto` takes them: what gains most for the time a slice takes."""

ROUNDING = 1.01
"""How far a size rounded to whole pixels may take the effective scale past the trained one without a warning."""


def upscale(
    volume: Volume | str | os.PathLike[str],
    *,
    scale: Number | Sequence[Number] | None = None,
    spacing: Number | Sequence[Number] | None = None,
    size: int | str | Sequence[int] | None = None,
    model: str | os.PathLike[str] | Loaded = "auto",
    modality: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    exact_spacing: bool = False,
    downsample: bool = False,
) -> Volume:
    """A volume at another magnification, computed slice by slice as it is asked for.

    Args:
        volume: as read, or the path of one.
        scale, spacing, size: exactly one; a magnification, mm, or pixels. One number is in-plane, two are
            rows and columns; `"5/2"` and `"1.3x2.2"` are understood.
        model: `"auto"` chooses by modality; else weights, an interpolator, a .safetensors file, or what
            `mesr.load` gave, which saves loading it again.
        modality: `"CT"` or `"MR"` for a file that does not say.
        device: `"auto"`, `"cpu"`, `"cuda"`, …
        precision: of the convolutions: `"auto"`, `"float32"`, `"bf16"`.
        exact_spacing: keep the spacing asked for and the centre, rather than the field of view.
        downsample: allow a result coarser than the input.

    Returns:
        A volume whose `array` is (D, H, W) float32 in the input's unit and whose `spacing` is (dz, dy, dx) mm;
        `notes` tell what was chosen and warn outside the weights' ranges.

    Raises:
        UsageError: the target makes no sense, or the modality is needed.
        InputError: the volume cannot be read, or the result is beyond a limit.
        WeightsError: there are no such weights.
    """
    target = Target.of(
        scale=scale, spacing=spacing, size=size, exact_spacing=exact_spacing, downsample=downsample
    )
    if not isinstance(volume, Volume):
        volume = _read(volume)
    return apply(volume, target, model=model, modality=modality, options=Options(device, precision))


def apply(
    volume: Volume,
    target: Target,
    *,
    model: str | os.PathLike[str] | Loaded = "auto",
    modality: str | None = None,
    options: Options = Options(),  # noqa: B008
    load: Loader = weights.load,
) -> Volume:
    """`upscale` for a target that is made already. Arguments and errors as there.

    Args:
        load: gives the weights of a name; one that remembers them saves reading them for every volume.
    """
    geometry = volume.geometry
    grid = target.grid(geometry.size, geometry.spacing if geometry.known else None)
    shrinks = max(grid.rows.step, grid.columns.step) > 1
    loaded: Loaded | None = None
    if isinstance(model, tuple):
        loaded = model
    elif os.fspath(model) != "auto":
        loaded = load(os.fspath(model))
    needed = loaded[0].parameter_count > 0 if loaded else not shrinks
    volume = identified(volume, modality, needed=needed)
    if loaded is None:
        name, reasons = chosen(volume, shrinks, load)
        loaded = load(name)
        volume = replace(volume, notes=(*volume.notes, *reasons))
    card = loaded[1]
    warnings = range_notes(volume, grid, card)
    result = upscale_volume(volume, target, loaded[0], card, wording(target), options)
    return replace(result, notes=(*result.notes, *warnings))


def chosen(
    volume: Volume, shrinks: bool = False, load: Loader = weights.load
) -> tuple[str, tuple[Note, ...]]:
    """What `auto` takes for a volume of known modality, and why, where that is not plain.

    CT gets the first of `PREFERRED`. MR gets the first whose card lists MR, else the windowed sinc. A result
    coarser than the input is interpolated: no network here shrinks.

    Raises:
        WeightsError: code `none-shipped`.
    """
    if shrinks:
        note = Note("interpolated", "The result is coarser than the input, so it was interpolated (bicubic).")
        return "bicubic", (note,)
    there = weights.shipped()
    names = [name for name in PREFERRED if name in there]
    if volume.modality == "MR":
        names = [name for name in names if "MR" in load(name)[1].modalities]
        if not names:
            text = (
                "No shipped network was trained on MR; the windowed sinc was taken, which restores no detail."
            )
            return "sinc", (Note("no-mr-weights", text),)
    if not names:
        raise WeightsError(
            "none-shipped",
            "This installation carries no trained weights for auto to choose from.",
            "Give --model FILE.safetensors, or an interpolator such as --model sinc.",
        )
    return names[0], ()


def range_notes(volume: Volume, grid: Grid, card: Card) -> tuple[Note, ...]:
    """Warnings where a network is used outside what it was trained for; none for an interpolator.

    Codes `outside-modality`, `outside-scale`, `outside-spacing`, `not-hu`; and `perceptual-weights` where it was
    trained to look right as well as to be right.
    """
    training = card.about.get("training") or {}
    if not training or grid.is_identity:
        return ()
    notes = []
    if card.perceptual:
        text = f"{card.name} was trained with perceptual losses: its fine texture may be invented."
        notes.append(Note("perceptual-weights", text))
    modalities = [str(one) for one in training.get("modalities", [])]
    if modalities and volume.modality is not None and volume.modality not in modalities:
        text = f"{card.name} was trained on {'/'.join(modalities)}, the input is {volume.modality}."
        notes.append(Note("outside-modality", text))
    if volume.modality == "CT" and volume.unit != "HU" and "CT" in modalities:
        text = "The values are not in HU; the volume's own range was mapped instead of the HU window."
        notes.append(Note("not-hu", text))
    low, high = _ends(training.get("scales"))
    used = [float(axis.scale) for axis in (grid.rows, grid.columns)]
    if min(used) * ROUNDING < low or max(used) > high * ROUNDING:
        text = f"{card.name} was trained for scales {low:g} to {high:g}, used at {' and '.join(f'{s:.4g}' for s in dict.fromkeys(used))}."
        notes.append(Note("outside-scale", text))
    # What the network met in training were scans of these spacings, shrunk by up to the largest scale.
    fine, coarse = _ends(training.get("spacing_mm"))
    held = volume.spacing[1:]
    if volume.geometry.known and (min(held) < fine or max(held) > coarse * high):
        text = f"{card.name} was trained on pixels of {fine:.3g} to {coarse * high:.3g} mm, the input has {held[0]:.3g} × {held[1]:.3g} mm."
        notes.append(Note("outside-spacing", text))
    return tuple(notes)


def wording(target: Target) -> str:
    """The target as a user would write it: `"scale 1.3x2.2"`, `"spacing 0.5 mm"`, `"size 1024"`."""
    if target.scale is not None:
        return f"scale {_numbers(target.scale)}"
    if target.size is not None:
        return f"size {_numbers(target.size)}"
    assert target.spacing is not None
    return f"spacing {_numbers(target.spacing)} mm" + (" exactly" if target.exact_spacing else "")


def _read(path: object) -> Volume:
    """The volume of a path; anything else is told what is needed."""
    if not isinstance(path, str | os.PathLike):
        raise UsageError(
            "not-a-volume",
            f"A mesr.Volume or a path was expected, found {type(path).__name__}.",
            "Make one of an array with mesr.Volume(mesr.Geometry(size, spacing), mesr.ArraySlices(array)).",
        )
    from .io import read

    return read(Path(path))


def _ends(values: object) -> tuple[float, float]:
    """The least and the greatest of a card's list; everything where it says nothing."""
    if isinstance(values, list) and values:
        return float(min(values)), float(max(values))
    return 0.0, float("inf")


def _numbers(values: Sequence[Fraction | int]) -> str:
    return "x".join(_number(Fraction(value)) for value in values)


def _number(value: Fraction) -> str:
    """As a decimal where that is exact and short, else as a fraction."""
    decimal = f"{float(value):.12g}"
    return decimal if "e" not in decimal and Fraction(decimal) == value else str(value)
