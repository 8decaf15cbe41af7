"""What a low-dose cone-beam scanner would have made of a CT slice, simulated in its projections.

HU → attenuation → line integrals → photons, scatter, noise, unequal elements → filtered back-projection → HU.
A slice is scanned by the middle plane of the cone, so artefacts of the cone's angle do not occur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..volume import FloatImage
from .fan_beam import FanBeam, Filter

WATER_PER_MM = 0.0195
"""Attenuation of water at about 69 keV, near the mean energy behind a patient in a 125 kV beam."""

EMPTY_HU = -900.0
"""What is below this counts as empty when the simulation looks for how far the body reaches."""

SCATTER_MM = 40.0
"""Width (σ) of what a pencil of rays scatters, at the isocentre."""

RANGES: dict[str, tuple[float, float]] = {
    "views": (1, 100_000),
    "photons": (1, math.inf),
    "electronic": (0, 1e9),
    "blur_mm": (0, 100),
    "rings": (0, 0.1),  # Beyond it an element's gain might come out negative.
    "scatter": (0, 1),
    "element_mm": (0.01, 100),
    "source_mm": (10, 1e5),
}
"""Of a scan's settings, both ends allowed: beyond them nothing is shown, or takes all memory."""

DARKEST = 1e-30
"""Share of the photons that always arrives, so that its logarithm exists."""


@dataclass(frozen=True)
class ConeBeam:
    """A scan's settings. The defaults make a low-dose scan, as noisy as a real one of a phantom and softer
    (docs/explanation/degradation.md).

    Attributes:
        views: projections over a whole turn; few of them leave streaks.
        photons: counted by an element where nothing is in the way; `inf` for a scan without noise.
        electronic: standard deviation of the read-out's noise, in photons.
        blur_mm: standard deviation of focal spot and detector together, mm at the isocentre.
        rings: relative standard deviation of the elements' gains after their calibration.
        scatter: photons scattered into the detector that the scanner does not correct for, as a share of those that
            arrive times their attenuation, −ln of it; it makes the middle of a body too dark.
        filter: of the back-projection, "ramp" or "hann".
        element_mm: of the detector, at the isocentre.
        source_mm: focal spot to isocentre.
    """

    views: int = 360
    photons: float = 4e5
    electronic: float = 5.0
    blur_mm: float = 0.4
    rings: float = 2e-3
    scatter: float = 3e-3
    filter: Filter = "hann"
    element_mm: float = 0.5
    source_mm: float = 1000.0

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            found = getattr(self, name)
            if not least <= found <= most:
                raise UsageError(
                    "degradation",
                    f"A cone-beam scan cannot have {name} = {found:g}, which lies from {least:g} to {most:g}.",
                )


IDEAL = ConeBeam(
    views=1440, photons=math.inf, electronic=0, blur_mm=0, rings=0, scatter=0, filter="ramp", element_mm=0.25
)
"""Without noise or artefacts: it gives the slice back."""


def simulate(
    slice_hu: FloatImage,
    spacing_mm: float | tuple[float, float],
    settings: ConeBeam = ConeBeam(),
    seed: int = 0,
) -> FloatImage:
    """The slice as that scan shows it, on the same pixels.

    Args:
        slice_hu: (H, W) HU; the isocentre is its middle. Nothing attenuates less than nothing: values under
            −1000 count as that.
        spacing_mm: of its pixels, rows and columns where they differ.
        settings: of the scan.
        seed: decides the noise and the gains.

    Returns:
        (H, W) HU, float32. About ten seconds for 512² and 360 views on one core.

    Raises:
        UsageError: the slice does not fit between source and detector, code `degradation`.
    """
    spacing = spacing_mm if isinstance(spacing_mm, tuple) else (spacing_mm, spacing_mm)
    relative = torch.from_numpy(np.asarray(slice_hu, np.float32) / 1000 + 1).clamp(min=0)
    across = math.hypot(*(n * d for n, d in zip(slice_hu.shape, spacing, strict=True)))
    if across >= 1.8 * settings.source_mm:
        raise UsageError(
            "degradation",
            f"A slice {across:.0f} mm across does not fit into a scan with its source at {settings.source_mm:g} mm.",
        )
    scan = FanBeam(
        size=(slice_hu.shape[0], slice_hu.shape[1]),
        spacing=spacing,
        views=settings.views,
        pitch=settings.element_mm,
        source=settings.source_mm,
        radius=_reach(slice_hu, spacing),
    )
    with torch.no_grad():
        integrals = scan.project(relative * WATER_PER_MM)
        measured = measure(integrals, settings, np.random.default_rng(seed))
        image = scan.reconstruct(measured, settings.filter)
    return ((image / WATER_PER_MM - 1) * 1000).numpy()


def measure(integrals: Tensor, settings: ConeBeam, chance: np.random.Generator) -> Tensor:
    """What a detector makes of line integrals: (views, elements) to the same, through photons and back."""
    arriving = torch.exp(-integrals)
    scattered = arriving * integrals.clamp(min=0)
    arriving = _smooth(arriving, settings.blur_mm / settings.element_mm)
    if settings.scatter:
        arriving = arriving + settings.scatter * _smooth(scattered, SCATTER_MM / settings.element_mm)
    if settings.rings:
        arriving = arriving * (1 + settings.rings * _normal(chance, (1, integrals.shape[1])))
    if math.isfinite(settings.photons):
        # Photons are Poisson; under the ten or so where that is far from Gaussian the read-out outweighs them.
        # One normal number an element makes the same noise on every machine, which a Poisson sampler does not.
        expected = arriving * settings.photons
        spread = torch.sqrt(expected + settings.electronic**2)
        counted = expected + spread * _normal(chance, tuple(integrals.shape))
        arriving = counted.clamp(min=1.0) / settings.photons
    return -torch.log(arriving.clamp(min=DARKEST))


def _normal(chance: np.random.Generator, size: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(chance.standard_normal(size, dtype=np.float32))


def _smooth(rows: Tensor, sigma: float) -> Tensor:
    """Rows under a Gaussian of `sigma` elements, continued by their last values."""
    if sigma == 0:
        return rows
    reach = math.ceil(4 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    padded = F.pad(rows[:, None], (reach, reach), mode="replicate")
    return F.conv1d(padded, (kernel / kernel.sum())[None, None])[:, 0]


def _reach(slice_hu: FloatImage, spacing: tuple[float, float]) -> float:
    """How far from the middle of the slice there is matter, mm."""
    distances = [((np.arange(n) - (n - 1) / 2) * d) for n, d in zip(slice_hu.shape, spacing, strict=True)]
    squared = distances[0][:, None] ** 2 + distances[1] ** 2
    there = squared[slice_hu > EMPTY_HU]
    return math.sqrt(float(there.max(initial=0.0))) + 4 * max(spacing)
