"""A CT and cone-beam scans of it, one in its place and one of another day, for what registration costs a network.

    python scripts/another_day.py ../shared/data/train/CCTH-A01 45 118 -o days
    mesr prepare-pairs days/known -o days/pairs-known --register none --size 0
    mesr prepare-pairs days/moved -o days/pairs-moved --size 0

The second cone-beam scan is of the patient shifted by 26 mm and turned by 2 to 5° about each axis. Both are simulated in their projections
(`degrade.ConeBeam`, its defaults), slice by slice; 512² takes some ten seconds each.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import mesr
from mesr import itk
from mesr.alignment import Rigid
from mesr.degrade import ConeBeam, simulate
from mesr.geometry import Geometry
from mesr.prepare import slice_number
from mesr.volume import FloatImage

TURNED, SHIFTED = (2.0, -3.0, 5.0), (-21.0, 14.0, -6.5)
"""Degrees about each axis, and mm."""
AIR_HU = -1000.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ct", type=Path)
    parser.add_argument("first", type=int, help="number of the first slice, as in its file's name")
    parser.add_argument("last", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    scan = mesr.read(arguments.ct)
    chosen = [
        k for k in range(len(scan.slices)) if arguments.first <= slice_number(scan, k) <= arguments.last
    ]
    values = np.stack([scan.slices[k].values for k in chosen])
    x, y, z = scan.geometry.position(chosen[0], 0, 0)
    place = replace(scan.geometry, size=values.shape, origin=(x, y, z))
    x, y, z = place.position(*(n / 2 for n in place.size))
    moved = Rigid(TURNED, SHIFTED, (x, y, z))
    elsewhere = itk.onto(place, itk.image(values, place), moved.transform, AIR_HU)
    for day, seen, seed in (("known", values, 0), ("moved", elsewhere, len(values))):
        folder = arguments.output / day / "patient"
        folder.mkdir(parents=True, exist_ok=True)
        _write(values, place, folder / "ct.nii.gz")
        scanned = [simulate(one, place.spacing[1:], ConeBeam(), seed + k) for k, one in enumerate(seen)]
        _write(np.stack(scanned), place, folder / "cbct.nii.gz")


def _write(values: FloatImage, place: Geometry, path: Path) -> None:
    itk.simpleitk().WriteImage(itk.image(np.rint(values).astype(np.int16), place), str(path))


if __name__ == "__main__":
    main()
