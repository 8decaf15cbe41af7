"""Native resolution: scans as they are, nothing shrunk, made finer by each method; what is told without a truth.

The CatPhan 504's sensitometry module has eight inserts of 12.2 mm on a circle around its middle; of one chest scan
under a sharp and a soft kernel there are tissue to measure noise in and, in most slices, skin against open air.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from .. import native
from ..data import spread
from ..grid import Axis
from ..inference import Options
from ..intensity import HU_WINDOW
from ..metrics import body_mask
from ..models import weights
from ..prepare import volumes
from ..resample import resize_mask
from ..tables import BASELINE, neighbours_difference
from ..upscaling import upscale
from ..volume import FloatImage, Mask, Volume
from .findings import Finding, Method
from .sources import Source
from .systems import UNTRAINED

AS_IS = "as it is"

SCALE = Fraction(2)
RADIUS_MM, INSERT_MM, INNER_MM = 58.7, 6.1, 4.5
"""Of the circle the inserts lie on, of an insert, and of what is averaged of one."""

INSERTS = {
    "air": -90, "Teflon": -60, "Delrin": 0, "acrylic": 60, "polystyrene": 120, "LDPE": 180, "PMP": -120,
}  # fmt: skip
"""Degrees, clockwise from the right."""

STRONG, WEAK = ("air", "Teflon"), ("Delrin", "LDPE")
"""Inserts whose edges are measured: with a contrast of a thousand HU or so, and of a few hundred or less."""

TISSUE_SLICES = 5
"""Of a patient's scan, evenly spread."""

UNIFORM_MM = 30.0
SOFT_HU = (0.0, 100.0)


Figures = Callable[[FloatImage, native.Place], dict[str, float]]
"""Values, HU, and their spacing, mm, to figures by name."""
Look = Callable[[FloatImage, native.Place], Figures]
"""A slice as it is to what is measured of it and of every result made of it, in the same places."""


def findings(
    source: Source,
    methods: Sequence[Method],
    options: Options = Options(),  # noqa: B008
    *,
    phantom: bool = True,
) -> list[Finding]:
    """Every figure of every method.

    Args:
        methods: title and what `weights.load` is given.
        phantom: whether to look at the phantom, which is a test scan.

    Raises:
        InputError: a scan cannot be read.
    """
    found: list[Finding] = []
    if phantom and source.phantom is not None:
        volume = next(iter(volumes(source.phantom)))
        found += _each(volume, insert_slices(volume), "CatPhan 504, CBCT", methods, options, look_at_phantom)
    for place in source.kernels:
        volume = next(iter(volumes(place)))
        chosen = spread(len(volume.slices), TISSUE_SLICES)
        found += _each(volume, chosen, place.name, methods, options, look_at_tissue)
    return found


def insert_slices(volume: Volume) -> list[int]:
    """The slices whose Teflon and air inserts differ as much as in the one where they differ most, within a twentieth."""

    def contrast(k: int) -> float:
        means = insert_means(volume.slices[k].values, volume.spacing[1:])
        return means["Teflon"] - means["air"]

    found = [contrast(k) for k in range(len(volume.slices))]
    return [k for k, value in enumerate(found) if value >= 0.95 * max(found)]


def insert_means(values: FloatImage, spacing: tuple[float, float]) -> dict[str, float]:
    """Mean HU of every insert."""
    return {
        name: native.disc_mean(values, place, INNER_MM, spacing)
        for name, place in _insert_places(values, spacing).items()
    }


def look_at_phantom(values: FloatImage, spacing: native.Place) -> Figures:
    """Its inserts are found anew in every image, which differ in nothing else there."""
    return phantom_figures


def phantom_figures(values: FloatImage, spacing: tuple[float, float]) -> dict[str, float]:
    """Noise in the middle, sharpness of the inserts' edges, and their means."""
    middle = _middle(values)
    inside = np.hypot(
        (np.arange(values.shape[0])[:, None] - middle[0]) * spacing[0],
        (np.arange(values.shape[1]) - middle[1]) * spacing[1],
    ) <= UNIFORM_MM  # fmt: skip
    places = _insert_places(values, spacing)
    figures = {"noise": native.noise(values, inside, spacing)}
    for title, names in (("strong", STRONG), ("weak", WEAK)):
        found = [native.mtf50(native.disc_edge(values, places[name], INSERT_MM, spacing)) for name in names]
        figures[f"MTF50, {title} contrast"] = float(np.mean(found))
    return figures | {f"mean {name}": value for name, value in insert_means(values, spacing).items()}


def look_at_tissue(values: FloatImage, spacing: native.Place) -> Figures:
    """Soft tissue and skin are where the scan itself shows them, whatever a method makes of them."""
    body = body_mask(HU_WINDOW.forward(values))
    around = native.local_mean(values, spacing)  # A choice by the values themselves would cut the noise off.
    soft = body & (around > SOFT_HU[0]) & (around < SOFT_HU[1])
    return partial(tissue_figures, soft=soft, skin=native.find_skin(values, spacing))


def tissue_figures(
    values: FloatImage, spacing: native.Place, soft: Mask, skin: native.Skin | None
) -> dict[str, float]:
    """Noise in the soft tissue of a patient, its mean, and the sharpness of the skin, where there is one.

    Args:
        soft: where soft tissue is, on the scan's own pixels.
    """
    axes = (Axis.sized(n, size) for n, size in zip(soft.shape, values.shape, strict=True))
    inside = resize_mask(soft, *axes)
    mean = float(values[inside].mean()) if inside.any() else math.nan
    return {
        "noise": native.noise(values, inside, spacing),
        "MTF50, skin": math.nan if skin is None else native.mtf50(native.skin_edge(values, spacing, skin)),
        "mean soft tissue": mean,
    }


def _each(
    volume: Volume, slices: Sequence[int], scan: str, methods: Sequence[Method], options: Options, look: Look
) -> list[Finding]:
    """The figures of slices as they are, and after each method; means over the slices where every method has one."""
    results = [(AS_IS, "", volume)]
    for title, name in methods:
        model, card = weights.load(name)
        finer = upscale(
            volume,
            scale=SCALE,
            model=(model, card),
            modality="CT",
            device=options.device,
            precision=options.precision,
        )
        results.append((title, card.weights_id, finer))
    figures = {k: look(volume.slices[k].values, volume.spacing[1:]) for k in slices}
    told = [
        [figures[k](result.slices[k].values, result.spacing[1:]) for k in slices] for _, _, result in results
    ]
    titles = [title for title, _, _ in results]
    found = []
    for measure in told[0][0]:
        values = np.array([[one[measure] for one in each] for each in told])  # Methods down, slices across.
        common = values[:, np.isfinite(values).all(axis=0)]
        if not common.size:
            continue
        base = common[titles.index(BASELINE)] if BASELINE in titles else None
        for (title, weights_id, _), own in zip(results, common, strict=True):
            sd = float(own.std(ddof=1)) if len(own) > 1 else math.nan
            gain = _gain(own, base) if title not in (AS_IS, *UNTRAINED) else (math.nan,) * 3
            found.append(Finding(scan, title, weights_id, measure, float(own.mean()), sd, len(own), *gain))
    return found


def _gain(own: npt.NDArray[np.float64], base: npt.NDArray[np.float64] | None) -> tuple[float, float, float]:
    """Mean and interval of the differences of neighbouring slices of one scan."""
    if base is None:
        return (math.nan,) * 3
    ahead = neighbours_difference((own - base).tolist())
    return ahead.mean, ahead.low, ahead.high


def _insert_places(values: FloatImage, spacing: tuple[float, float]) -> dict[str, native.Place]:
    row, column = _middle(values)
    return {
        name: (
            row + RADIUS_MM * math.sin(math.radians(angle)) / spacing[0],
            column + RADIUS_MM * math.cos(math.radians(angle)) / spacing[1],
        )
        for name, angle in INSERTS.items()
    }


def _middle(values: FloatImage) -> native.Place:
    """Of the phantom: halfway between its edges, the couch left out as too thin for a body."""
    body = body_mask(HU_WINDOW.forward(values))
    if not body.any():
        return (values.shape[0] - 1) / 2, (values.shape[1] - 1) / 2
    edges = [np.flatnonzero(body.any(axis=axis)) for axis in (1, 0)]
    return tuple(float(found[0] + found[-1]) / 2 for found in edges)  # type: ignore[return-value]
