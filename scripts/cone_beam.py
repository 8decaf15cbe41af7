"""What a simulated cone-beam scan is like: noise, cupping, sharpness and inserts of a phantom, at several doses.

    python scripts/cone_beam.py

The phantom is drawn as the CatPhan 504's sensitometry module, 200 mm of tissue with inserts, and scanned by itself (as a head is)
and within an ellipse of 360 × 220 mm (as a pelvis is). The figures are those of `mesr reproduce native`, so that they stand
beside the scan of a real one in docs/results.md; cupping is how much darker the middle is than a ring 25 mm within the rim.
"""

from __future__ import annotations

import math

import numpy as np

from mesr.degrade import ConeBeam, simulate
from mesr.reproduce.as_is import INSERT_MM, INSERTS, RADIUS_MM, phantom_figures
from mesr.tables import markdown
from mesr.volume import FloatImage

PIXEL_MM, FINER = 0.5, 4
"""Of the images, and how many parts a pixel is drawn in along each side."""
MODULE_MM = 100.0
"""Its radius."""
BODY_MM = (110.0, 180.0)
"""Half axes of the ellipse, rows and columns."""
TISSUE_HU, FAT_HU = 60.0, -80.0
NOMINAL = {
    "air": -1000.0,
    "Teflon": 990.0,
    "Delrin": 340.0,
    "acrylic": 120.0,
    "polystyrene": -35.0,
    "LDPE": -100.0,
    "PMP": -200.0,
}
"""HU of the inserts by their maker."""

SCANS = {
    "the defaults": ConeBeam(),
    "a quarter of the photons": ConeBeam(photons=1e5),
    "180 views": ConeBeam(views=180),
    "filter=ramp": ConeBeam(filter="ramp"),
    "blur_mm=0": ConeBeam(blur_mm=0),
    "filter=ramp blur_mm=0": ConeBeam(filter="ramp", blur_mm=0),
    "without scatter and rings": ConeBeam(scatter=0, rings=0),
}


def main() -> None:
    for name, size, body in (("by itself", 220.0, False), ("within an ellipse of 360 × 220 mm", 380.0, True)):
        truth = phantom(size, body=body)
        scans = {"drawn": truth} | {
            told: simulate(truth, PIXEL_MM, settings, seed=1) for told, settings in SCANS.items()
        }
        columns = {told: figures(values) for told, values in scans.items()}
        print(f"\n**The module {name}**\n")
        rows = [
            [key, *(f"{one[key]:.{2 if 'MTF' in key else 1}f}" for one in columns.values())]
            for key in columns["drawn"]
        ]
        print(markdown(["HU, and line pairs a mm", *columns], rows))


def phantom(size_mm: float, *, body: bool) -> FloatImage:
    """(N, N) HU of the module in air, or in the middle of a body; drawn finer and averaged, as a detector would."""
    count = round(size_mm / PIXEL_MM) * FINER
    place = (np.arange(count) - (count - 1) / 2) * PIXEL_MM / FINER
    y, x = place[:, None], place[None]
    values = np.full((count, count), -1000.0, np.float32)
    if body:
        values[(y / BODY_MM[0]) ** 2 + (x / BODY_MM[1]) ** 2 <= 1] = FAT_HU
    values[np.hypot(y, x) <= MODULE_MM] = TISSUE_HU
    for name, angle in INSERTS.items():
        row, column = RADIUS_MM * math.sin(math.radians(angle)), RADIUS_MM * math.cos(math.radians(angle))
        values[np.hypot(y - row, x - column) <= INSERT_MM] = NOMINAL[name]
    side = count // FINER
    averaged: FloatImage = values.reshape(side, FINER, side, FINER).mean((1, 3))
    return averaged


def figures(values: FloatImage) -> dict[str, float]:
    """Those of the native part of the results, and cupping, HU."""
    place = (np.arange(len(values)) - (len(values) - 1) / 2) * PIXEL_MM
    away = np.hypot(place[:, None], place[None])
    middle = values[away <= 20]
    rim = values[np.abs(away - (MODULE_MM - 25)) <= 3]
    return {"cupping": float(rim.mean() - middle.mean())} | phantom_figures(values, (PIXEL_MM, PIXEL_MM))


if __name__ == "__main__":
    main()
