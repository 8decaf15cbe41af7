"""A user's own pair: one object scanned coarse and fine, the fine one taken for the truth.

The grid comes from the two geometries: the same field of view, the ratio of the sizes for the scale.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from . import picture
from .errors import GeometryInput, InputError
from .evaluate import Pair, measured
from .gallery import restored
from .geometry import Geometry
from .grid import Axis, Grid
from .inference import Options
from .intensity import Window, window_for
from .metrics import body_mask
from .models import weights as weights_files
from .results import ResultsFile, Row, code_identity
from .testset import counted_air
from .volume import Volume

DEGRADATION = "pair"
"""What the results call it when no recipe made the low-resolution image."""


def evaluate_pairs(
    lr: Volume,
    hr: Volume,
    models: Sequence[str | Path],
    *,
    name: str = "pair",
    out: Path | None = None,
    options: Options = Options(),  # noqa: B008
    on_slice: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Every method on every slice of a pair; the intensity window is that of the low-resolution volume.

    Args:
        lr, hr: the same slices over the same field of view.
        models: names as for `models.weights.load`.
        name: what the rows call scan, site and patient.
        out: folder of a results.csv that each row is added to once it is measured; rows found there are not
            measured again.
        on_slice: called with slices done and slices in all.

    Raises:
        GeometryInput: they are no such pair, code `not-a-pair`.
        InputError: they are of different units, or a slice proves unreadable.
    """
    grid = pair_grid(lr.geometry, hr.geometry)
    if lr.unit != hr.unit:
        raise InputError(
            "not-a-pair", "The two volumes of a pair must be of one unit, found HU and arbitrary values."
        )
    loaded = weights_files.load_each(models)
    window = window_for(lr)
    file = ResultsFile(out / "results.csv") if out is not None else None
    commit = code_identity()
    rows: list[Row] = []
    for k in range(len(hr.slices)):
        pair = slice_pair(lr, hr, k, grid, window)
        digest = hashlib.sha256(np.ascontiguousarray(pair.hr).tobytes())
        digest.update(np.ascontiguousarray(pair.lr).tobytes() + str(window).encode())
        about = {
            "commit": commit, "seed": 0, "degradation": DEGRADATION, "scan": name, "site": name, "patient": name,
            "slice": k, "modality": hr.modality or "", "unit": hr.unit, "scale": scale_label(grid),
            "data_sha256": digest.hexdigest(),
        }  # fmt: skip
        rows += measured(loaded, lambda pair=pair: pair, window, about, file, options)  # type: ignore[misc]
        if on_slice is not None:
            on_slice(k + 1, len(hr.slices))
    return rows


def slice_pair(lr: Volume, hr: Volume, k: int, grid: Grid, window: Window) -> Pair:
    """Slice `k` of a pair, mapped to the networks' range."""
    low, high = (window.forward(counted_air(one.slices[k], one.unit, window)) for one in (lr, hr))
    return Pair(low, high, grid, body_mask(high), math.ceil(max(grid.scale)))


def draw_pair(
    lr: Volume,
    hr: Volume,
    models: Sequence[str | Path],
    path: Path,
    options: Options = Options(),  # noqa: B008
) -> Path:
    """Draw the middle slice of a pair, what every method makes of it, and the errors, over an earlier picture.

    Raises:
        GeometryInput: they are no pair, code `not-a-pair`.
        OutputError: the picture cannot be written there.
    """
    grid, window = pair_grid(lr.geometry, hr.geometry), window_for(lr)
    pair = slice_pair(lr, hr, len(hr.slices) // 2, grid, window)
    loaded = weights_files.load_each(models)
    picture.comparison(
        window.inverse(pair.lr),
        restored(loaded, pair, window, options),
        window.inverse(pair.hr),
        path,
        window,
        hr.unit,
        title=f"A pair of scans, {scale_label(grid)} times finer. Research use only.",
        force=True,
    )
    return path


def pair_grid(lr: Geometry, hr: Geometry) -> Grid:
    """The grid from one volume to the other, which must be finer over the same field of view.

    Edges may differ by half a pixel of the finer volume, slice positions by a tenth of their distance. Volumes
    that carry no geometry are taken to cover the same.

    Raises:
        GeometryInput: code `not-a-pair`, with what differs.
    """
    if lr.size[0] != hr.size[0]:
        raise _no_pair(
            f"The two volumes have {lr.size[0]} and {hr.size[0]} slices; a pair has the same slices.",
            "Name two scans of the same slices.",
        )
    if hr.size[1] < lr.size[1] or hr.size[2] < lr.size[2]:
        raise _no_pair(
            f"The first volume of a pair is the coarser one, found {_by(lr)} and {_by(hr)} pixels"
            " (rows × columns).",
            "Name the coarser one first.",
        )
    if lr.known and hr.known:
        _assert_same_view(lr, hr)
    slices, rows, columns = (Axis.sized(n, m) for n, m in zip(lr.size, hr.size, strict=True))
    return Grid(slices, rows, columns)


def _assert_same_view(lr: Geometry, hr: Geometry) -> None:
    if float(np.abs(lr.directions - hr.directions).max()) > 1e-3:
        raise _no_pair("The two volumes of a pair must have the same orientation, found another.", CROP)
    tolerance = np.array([0.1 * hr.spacing[0], 0.5 * hr.spacing[1], 0.5 * hr.spacing[2]])
    # Slices are compared at their centres, rows and columns at their outer edges.
    for k in {0, hr.size[0] - 1}:
        for low, high in zip(_corners(lr, k), _corners(hr, k), strict=True):
            apart = np.abs(np.linalg.solve(hr.directions.T, high - low))
            if (apart > tolerance).any():
                raise _no_pair(
                    "The two volumes of a pair must cover the same field of view,"
                    f" found edges {float(apart.max()):.3g} mm apart.",
                    CROP,
                )


def _corners(geometry: Geometry, k: int) -> tuple[np.ndarray, np.ndarray]:
    """LPS mm of the first and the last outer corner of a slice."""
    last = geometry.position(k, geometry.size[1] - 0.5, geometry.size[2] - 0.5)
    return geometry.position(k, -0.5, -0.5), last


CROP = "Crop or resample the finer volume to the field of view of the coarser."


def _no_pair(sentence: str, fix: str) -> GeometryInput:
    return GeometryInput("not-a-pair", sentence, fix)


def _by(geometry: Geometry) -> str:
    return f"{geometry.size[1]} × {geometry.size[2]}"


def scale_label(grid: Grid) -> str:
    """The scale of a pair, rows × columns where they differ: `"2.5"`."""
    rows, columns = (f"{scale:.4g}" for scale in grid.scale[1:])
    return rows if rows == columns else f"{rows}x{columns}"
